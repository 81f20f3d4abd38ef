"""Rows of JSON lines, CSV, Parquet or plain text, each with its place."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from routing_service.errors import UsageError, nearest
from routing_service.files import STDIO
from routing_service.rows import formats, parquet
from routing_service.rows.formats import Format
from routing_service.rows.streams import name_of, open_bytes, read_head, text_lines

PROMPT = "prompt"
# Responses may be pages long; the csv module's default limit is 128 KiB for a field.
MAX_FIELD_CHARACTERS = 1 << 24
# A longer column name may be the first prompt of a file without a header. Errors must not quote it.
MAX_SHOWN_NAME = 20


class Asks(Protocol):
    """Reads what is asked; see `routing_service.asks.reader.AskReader`."""

    def of_prompt(self, prompt: str) -> str:
        """What a prompt asks."""

    def of_messages(self, newest_first: Iterable[tuple[bool, Sequence[str]]]) -> str:
        """What a conversation asks, blank if nothing: for each message whether a user wrote it, and its texts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    `number` is its last line, or Parquet's row, from 1; `values` are its fields by column; of a plain line
    only `prompt`. A missing field of CSV is None.
    """

    file: RowFile
    number: int
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """FILE:LINE."""
        return f"{self.file.name}:{self.number}"

    def error(self, problem: str) -> UsageError:
        """The error for a wrong row. `problem` says what to do, and quotes no prompt."""
        return UsageError(f"{self.place}: {problem}")

    def lacks(self, column: str, advice: str) -> UsageError:
        """The error for a row, or a table, without a column: it names the existing columns, and the nearest one."""
        header = self.file.header_place
        there, place = (self.file.columns, header) if header else (tuple(self.values), self.place)
        guess = nearest(column, there)
        hint = f"; is {guess!r} meant to be it?" if guess else "."
        return UsageError(f"{place}: has no {column!r}, only {shown_names(there)}{hint} {advice}")


class RowFile:
    """The rows of a file or of standard input, in order and one at a time, in limited memory.

    Reading sets its format (`format`, None before), a table's columns (`columns`, else those of the first row), the
    number of `rows` so far, how many of them are `blank`, and how many `leave_out`, given a row and its text, refused
    (`left_out`).

    Args:
        path: the file, `-` for standard input. See `formats` for how its format is found.
        needed: of Parquet only these columns are read, if they exist; none means all.
        asks: reads what the rows ask, None to take their texts as they are.
    """

    def __init__(self, path: Path, needed: Sequence[str] = (), *, asks: Asks | None = None) -> None:
        self.path, self.name, self._needed, self.asks = path, name_of(path), needed, asks
        self.format: Format | None = None
        self.header_place: str | None = None
        self.columns: tuple[str, ...] = ()
        self.leave_out: Callable[[Row, str], bool] | None = None
        self.rows = self.blank = self.left_out = 0
        self._delimiter = ","

    def __iter__(self) -> Iterator[Row]:
        """The rows, from the first.

        Raises:
            UsageError: the file cannot be read, or a row does not have the file's format; it says which.
        """
        self.rows = self.blank = self.left_out = 0
        for number, values in self._values():
            if not self.rows and not self.columns:
                self.columns = tuple(values)
            self.rows += 1
            yield Row(self, number, values)

    def notes(self) -> list[str]:
        """Notes about a file that was read: its format if found by its content, and rows without text."""
        found = []
        title = "standard input" if self.path == STDIO else self.name
        if self.format is not None and not formats.is_as_named(self.path, self.format):
            kinds = {"\t": "tab-separated values", ";": "semicolon-separated values"}
            kind = kinds.get(self._delimiter, "CSV") if self.format is Format.TABLE else self.format
            found.append(f"{title} is read as {kind}")
        if self.blank:
            found.append(f"{self.blank:,} of {self.rows:,} rows of {title} have no text and are left out")
        if self.left_out:
            found.append(f"{self.left_out:,} of {self.rows:,} rows of {title} are decided by rules and are left out")
        return found

    def tell(self) -> None:
        """Print its `notes` on standard error."""
        for note in self.notes():
            print(f"note: {note}", file=sys.stderr)

    def no_use(self, why: str) -> UsageError:
        """The error for a file without a usable row; `why` says what the rows lack."""
        if not self.rows:
            return UsageError(f"{self.name}: has no rows; at least one is needed")
        return UsageError(
            f"{self.name}: none of its {self.rows:,} rows can be used: {why}. Its columns: {shown_names(self.columns)}."
        )

    def _values(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        formats.check_name(self.path)
        with open_bytes(self.path) as source:
            head = read_head(source, self.path)
            is_parquet = head.first.startswith(parquet.MAGIC)
            self.format = Format.PARQUET if is_parquet else formats.named_format(self.path)
            if self.format is not Format.PARQUET:
                yield from self._text(text_lines(head, self.path))
                return
        self.header_place = self.name
        table = parquet.Table(self.path, self._needed)
        self.columns = table.columns
        yield from enumerate(table.rows(), start=1)

    def _text(self, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        start = []  # blank lines, which count in line numbers, and the first line that is not blank
        for line in lines:
            start.append(line)
            if line.strip():
                break
        first, whole = start[-1] if start else "", itertools.chain(start, lines)
        if self.format is None and first.strip():
            self.format = formats.sniffed_format(self.path, first)
        if self.format is Format.TABLE:
            self._delimiter = formats.delimiter_of(first) or ("\t" if "\t" in first else ",")
            yield from self._table(itertools.chain(start[-1:], lines), len(start) - 1)
        elif self.format is Format.LINES:
            for number, line in enumerate(whole, start=1):
                if line.strip():
                    yield number, {PROMPT: line.rstrip("\r\n")}
        else:
            yield from self._json_lines(whole)

    def _json_lines(self, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{self.name}:{number}: is not JSON: {error}; write one object a line") from error
            if not isinstance(row, dict):
                raise UsageError(f'{self.name}:{number}: is not an object; write {{"{PROMPT}": "…"}}, one a line')
            yield number, row

    def _table(self, lines: Iterable[str], skipped: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        csv.field_size_limit(MAX_FIELD_CHARACTERS)
        # Strict: an open quote must not take in the rest of the file.
        reader = csv.DictReader(lines, strict=True, delimiter=self._delimiter)
        try:
            self.columns = tuple(reader.fieldnames or ())
            self.header_place = f"{self.name}:{skipped + reader.line_num}"
            if twice := [name for name in self.columns if name and self.columns.count(name) > 1]:
                raise UsageError(f"{self.header_place}: has two columns {shown_names(twice[:1])}; take one out")
            for row in reader:
                number = skipped + reader.line_num
                if None in row:
                    raise UsageError(
                        f"{self.name}:{number}: has more fields than the {len(self.columns)} of the header; put fields "
                        "that hold commas in quotes"
                    )
                yield number, row
        except csv.Error as error:
            # The row's first line: with an open quote it ends with the file.
            raise UsageError(f"{self.name}:{skipped + reader.line_num + 1}: is not CSV: {error}") from error


def shown_names(columns: Iterable[str]) -> str:
    """Names of columns for an error. A long one may be a prompt and is not shown."""
    return ", ".join(repr(name) if len(name) <= MAX_SHOWN_NAME else "…" for name in columns) or "nothing"
