"""Reading prompts from what people have: JSON lines, CSV, Parquet, plain text, standard input."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from routing_service.errors import UsageError, nearest
from routing_service.extras import pip_install

PROMPT_KEY = "prompt"
# The path that stands for standard input.
STDIN = Path("-")
# A longer name of a column is more likely the first prompt of a file without names, which errors must not quote.
MAX_NAME_LENGTH = 20


def read_prompts(path: Path) -> Iterator[str]:
    """The prompts of a file, in order, one at a time.

    `.jsonl` holds an object with `prompt` a line, `.csv` and `.parquet` a column `prompt`, anything else one prompt a
    line; blank prompts and lines are skipped. All but Parquet may be gzipped (`.gz`). Standard input is read as lines
    come: as JSON lines when the first begins with `{`, else as one prompt a line.

    Raises:
        UsageError: the file cannot be read, is not what its name says, or has no `prompt`; says on which line.
    """
    suffix = suffix_of(path)
    if path == STDIN:
        with open_text(path) as file:
            yield from _sniffed(file)
    elif suffix == ".json":
        raise UsageError(f"{path}: a JSON document is not read; write one object a line and name the file .jsonl")
    elif suffix == ".parquet":
        yield from _parquet(path)
    elif suffix == ".csv":
        with open_text(path) as file:
            yield from _csv(file, path)
    elif suffix in (".jsonl", ".ndjson"):
        for _, row in read_rows(path):
            if row[PROMPT_KEY].strip():
                yield row[PROMPT_KEY]
    else:
        with open_text(path) as file:
            for line in lines_of(file, path):
                if line.strip():
                    yield line.rstrip("\r\n")


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a JSON lines file with their line numbers, from 1; every row has a text under `prompt`.

    Raises:
        UsageError: the file cannot be read, or a line is no such object.
    """
    with open_text(path) as file:
        yield from _with_prompts(json_rows(lines_of(file, path), path), path)


def json_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines with their line numbers, from 1; blank lines are skipped.

    Raises:
        UsageError: a line is no JSON object.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: is not JSON: {error}; write one object a line") from error
        if not isinstance(row, dict):
            raise UsageError(f'{path}:{number}: is not an object; write {{"{PROMPT_KEY}": "…"}}, one a line')
        yield number, row


def suffix_of(path: Path) -> str:
    """The suffix that says what a file holds, in lower case, before any `.gz`."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """A file's or standard input's text, unzipped, for `lines_of`.

    Raises:
        UsageError: it cannot be opened.
    """
    if path == STDIN and sys.stdin is None:  # so it is when the shell closes it
        raise UsageError("standard input is closed; pipe prompts into it, or name a file")
    try:
        raw = sys.stdin.buffer if path == STDIN else _open_bytes(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name an existing file") from error
    # Bytes that are no UTF-8 come as surrogates, so that `lines_of` can tell in which line they are.
    file = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield file
    finally:
        if path == STDIN:
            file.detach()
        else:
            file.close()


def _open_bytes(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value] # a file all the same


def lines_of(file: IO[str], path: Path) -> Iterator[str]:
    """The lines of a file, checked.

    Raises:
        UsageError: one cannot be read or is not UTF-8; says which.
    """
    try:
        for number, line in enumerate(file, start=1):
            try:
                line.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"{path}:{number}: is not UTF-8 text; convert the file to UTF-8") from error
            yield line
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {error}; is it really what its name says?") from error


def _with_prompts(rows: Iterable[tuple[int, dict[str, Any]]], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in rows:
        if not isinstance(row.get(PROMPT_KEY), str):
            raise UsageError(f"{path}:{number}: {_missing(row)}")
        yield number, row


def _sniffed(file: IO[str]) -> Iterator[str]:
    path = Path("<stdin>")
    lines = lines_of(file, path)
    skipped = []  # blank lines, which count when a line at fault is named
    for line in lines:
        skipped.append(line)
        if line.strip():
            break
    rest = itertools.chain(skipped, lines)
    if skipped and skipped[-1].lstrip().startswith("{"):
        for _, row in _with_prompts(json_rows(rest, path), path):
            if row[PROMPT_KEY].strip():
                yield row[PROMPT_KEY]
    else:
        yield from (line.rstrip("\r\n") for line in rest if line.strip())


def _csv(file: IO[str], path: Path) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.DictReader(lines_of(file, path), strict=True)  # an open quote must not swallow the rest
    try:
        columns = list(reader.fieldnames or ())
        if PROMPT_KEY not in columns:
            raise UsageError(f"{path}:1: {_missing(dict.fromkeys(columns))}")
        for row in reader:
            if (prompt := row[PROMPT_KEY]) is not None and prompt.strip():
                yield prompt
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: is not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[str]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow; run: {pip_install('routing-service', 'parquet')}"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if PROMPT_KEY not in columns:
                raise UsageError(f"{path}: {_missing(dict.fromkeys(columns))}")
            for batch in file.iter_batches(columns=[PROMPT_KEY]):
                for prompt in batch.column(0).to_pylist():
                    if not isinstance(prompt, str | None):
                        raise UsageError(f"{path}: the column {PROMPT_KEY!r} is not text; store prompts as strings")
                    if prompt and prompt.strip():
                        yield prompt
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path}: cannot be read as Parquet: {error}") from error


def _missing(row: dict[str, Any]) -> str:
    if PROMPT_KEY in row:
        return f"{PROMPT_KEY!r} is not text; write the prompt as a string"
    guess = nearest(PROMPT_KEY, row)
    hint = f"; is {guess!r} meant to be it?" if guess else "."
    names = ", ".join(repr(name) if len(name) <= MAX_NAME_LENGTH else "…" for name in row)
    return f"has no {PROMPT_KEY!r}, only {names or 'nothing'}{hint} Name the prompts {PROMPT_KEY!r}."
