"""Tables of rows: Parquet, JSON lines or CSV, in local files or folders or a data set of the Hugging Face hub."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from routing_service.artifacts.manifest import file_entry
from routing_service.errors import UsageError, nearest
from routing_service.extras import pip_install

SUFFIXES = (".parquet", ".jsonl", ".csv")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SPLIT = "train"


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file of rows.

    `source` names where it comes from for people: its own name, or the hub's id and the path inside; `revision` is the
    hub's commit, None for a local file.
    """

    path: Path
    source: str
    revision: str | None = None

    def provenance(self) -> dict[str, Any]:
        """For the manifest: source, revision where there is one, SHA-256."""
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"source": self.source, **revision, "sha256": file_entry(self.path).sha256}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a kind of table: those that it must have, and those that it may have beside them."""

    kind: str
    required: tuple[str, ...]
    optional: tuple[str, ...]

    def allowing(self, names: Sequence[str]) -> Columns:
        """The same with further optional columns."""
        return Columns(self.kind, self.required, (*self.optional, *names))

    def check(self, where: object, found: Sequence[str]) -> None:
        """Compare with a table's columns.

        Raises:
            UsageError: one is missing, or not known; all are listed, with the nearest known name.
        """
        known = (*self.required, *self.optional)
        missing = [name for name in self.required if name not in found]
        unknown = [_with_nearest(name, known) for name in found if name not in known]
        if not missing and not unknown:
            return
        problems = [f"has no column {', '.join(map(repr, missing))}"] if missing else []
        problems += [f"has columns that are not known: {', '.join(unknown)}"] if unknown else []
        raise UsageError(
            f"{where}: {' and '.join(problems)}. {self.kind} have {', '.join(self.required)}, and may have "
            f"{', '.join(self.optional)}; rename or drop others."
        )


def find_tables(option: str, sources: Sequence[str]) -> list[TableFile]:
    """The files that a command's option names: a file each, or the `train` split of a folder or a data set of the hub.

    Raises:
        UsageError: one does not exist, is of no known kind or cannot be fetched.
    """
    return [file for source in sources for file in _find(option, source)]


def rows_of(file: TableFile, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file in order, each with its place for error messages. Optional columns are read where present.

    Raises:
        UsageError: the file cannot be read, is not what its name says, or has other columns.
    """
    path = file.path
    readers = {".parquet": _parquet, ".jsonl": _json_lines, ".csv": _csv}
    try:
        yield from readers[path.suffix.lower()](path, columns)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text ({error.reason}); convert it to UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error}; is it really what its name says?") from error


def _with_nearest(name: str, known: Iterable[str]) -> str:
    guess = nearest(name, known)
    return f"{name!r} (is it {guess!r}?)" if guess else repr(name)


def _find(option: str, source: str) -> list[TableFile]:
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{option} {source}: must be {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
        return [TableFile(path, path.name)]
    if path.is_dir():
        return [TableFile(file, f"{path.resolve().name}/{inside}") for file, inside in _split(option, source, path)]
    identifier, _, revision = source.partition("@")
    if path.suffix.lower() in SUFFIXES or not _HUB_ID.fullmatch(identifier):
        raise UsageError(
            f"{option} {source}: there is no such file or folder; name one, or a data set of the Hugging Face hub as "
            "OWNER/NAME or OWNER/NAME@REVISION"
        )
    folder = _fetch(option, identifier, revision or None)
    # The hub's client keeps a data set in a folder named by its commit.
    return [
        TableFile(file, f"{identifier}/{inside}", folder.name) for file, inside in _split(option, identifier, folder)
    ]


def _fetch(option: str, identifier: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UsageError(
            f"{option} {identifier}: there is no such file, and fetching a data set needs huggingface_hub; run: "
            f"{pip_install('routing-service', 'export')}"
        ) from error
    patterns = [f"*{suffix}" for suffix in SUFFIXES]
    try:
        return Path(snapshot_download(identifier, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises its own kinds, and those of its HTTP library
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{option} {identifier}: there is no such file, and it cannot be fetched from the Hugging Face hub: {first}"
        ) from error


def _split(option: str, source: str, folder: Path) -> list[tuple[Path, str]]:
    """The files of a data set's `train` split, in order, with their paths inside; all files when none is named so."""
    inside = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    for suffix in SUFFIXES:
        found = [(path, part) for path, part in inside.items() if path.suffix.lower() == suffix]
        named = [(path, part) for path, part in found if _SPLIT in "/".join(part.parts).lower()]
        if found:
            return [(path, part.as_posix()) for path, part in named or found]
    raise UsageError(f"{option} {source}: holds no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")


def _json_lines(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{where}: is not JSON: {error}; write one object a line") from error
            if not isinstance(row, dict):
                raise UsageError(f"{where}: is not an object; write one object a line")
            columns.check(where, list(row))
            yield where, row


def _csv(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    with _csv_file(path) as file:
        reader = csv.DictReader(file, restkey="", strict=True)
        try:
            columns.check(f"{path}:1", [name or "" for name in reader.fieldnames or ()])
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if "" in row or None in row.values():
                    raise UsageError(f"{where}: has {'more' if '' in row else 'fewer'} fields than the first line")
                yield where, row
        except csv.Error as error:
            raise UsageError(f"{path}:{reader.line_num}: is not CSV: {error}") from error


def _csv_file(path: Path) -> IO[str]:
    csv.field_size_limit(sys.maxsize)
    return path.open(encoding="utf-8-sig", newline="")


def _parquet(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow; run: {pip_install('routing-service', 'parquet')}"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns.check(path, names)
            wanted = [name for name in names if name in (*columns.required, *columns.optional)]
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=wanted):
                values = {name: _plain(batch.column(name), pa) for name in wanted}
                for index in range(batch.num_rows):
                    number += 1
                    yield f"{path}: row {number}", {name: column[index] for name, column in values.items()}
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: cannot be read as Parquet: {error}") from error


def _plain(column: Any, pa: Any) -> Sequence[Any]:
    """A column as Python values, but lists of numbers as NumPy arrays, which is a hundred times faster."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_list and pa.types.is_floating(kind.value_type):
        return [None if not item.is_valid else item.values.to_numpy(zero_copy_only=False) for item in column]
    values: Sequence[Any] = column.to_pylist()
    return values
