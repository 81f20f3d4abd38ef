"""Finds and reads files of preference data: rows as dictionaries with their places, from JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from routing_lab.data.routellm_folders import BENCHMARKS, MAX_FIELD_LENGTH, benchmark_folders
from routing_service.errors import UsageError
from routing_service.extras import pip_install

DATA_SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
ROW_HINT = (
    'A row is an object or a table\'s row such as {"prompt": "…", "scores": {"strong-model": 1, "weak-model": 0}}, '
    "or a battle with prompt, model_a, model_b and winner (or winner_model_a, winner_model_b, winner_tie)"
)


@dataclass(slots=True)
class DataFile:
    """What became of one input file's rows: how many it has, how many are used, and why the others are not.

    `held_out` rows ask a prompt that must not be trained on, `without_pair` ones do not score the wanted models,
    `unsolved` ones were failed by every model that stands in for a pair, `blank` battles have no text to learn from,
    `overlap` ones ask what a benchmark asks that the router will be reported on.
    """

    name: str
    sha256: str
    license: str
    rows: int = 0
    used: int = 0
    held_out: int = 0
    without_pair: int = 0
    unsolved: int = 0
    blank: int = 0
    overlap: int = 0

    def record(self) -> dict[str, Any]:
        """For the manifest's provenance; the last two counts only where they are not 0."""
        values = asdict(self)
        return {name: value for name, value in values.items() if value or name not in ("blank", "overlap")}


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as its file has it; `place` is where it stands, for messages: `line 17` or, of Parquet, `row 17`."""

    place: str
    values: dict[str, Any]


def discover(paths: Sequence[Path], option: str = "--data") -> tuple[list[Path], dict[str, Path]]:
    """The data files that `paths` name or hold, in order, and the benchmark folders in RouteLLM's layout by name.

    Raises:
        UsageError: a path is missing, of no known kind, or a folder without data.
    """
    files: list[Path] = []
    folders: dict[str, Path] = {}
    kinds = ", ".join(DATA_SUFFIXES)
    for path in paths:
        if path.is_file() and path.name.endswith(DATA_SUFFIXES):
            files.append(path)
            continue
        if not path.is_dir():
            problem = f"is neither of {kinds}" if path.exists() else "does not exist"
            raise UsageError(f"{option} {path} {problem}. Name preference files, or folders of them.")
        found = benchmark_folders(path)
        inside = [] if found else sorted(p for p in path.iterdir() if p.name.endswith(DATA_SUFFIXES))
        if not found and not inside:
            raise UsageError(
                f"{option} {path} holds no file named {kinds} and none of the folders {', '.join(BENCHMARKS)}. "
                "Name a folder that does, or the files themselves."
            )
        files += inside
        folders.update(found)
    return files, folders


def labels(files: Sequence[Path]) -> dict[Path, str]:
    """What tells files apart in messages and manifests: their names, with folders before them where names are equal.

    Raises:
        UsageError: a file is there twice.
    """
    found: dict[Path, str] = {}
    resolved = [file.resolve() for file in files]
    for file, whole in zip(files, resolved, strict=True):
        if resolved.count(whole) > 1:
            raise UsageError(f"--data names {file} twice, so that its rows would count twice; name it once")
        parts = 1
        while sum(other.parts[-parts:] == whole.parts[-parts:] for other in resolved) > 1:
            parts += 1
        found[file] = file.name if parts == 1 else "/".join(whole.parts[-parts:])
    return found


def read_raw_rows(path: Path, columns: Sequence[str]) -> Iterator[RawRow]:
    """The rows of a file, in order. Of a table only those of `columns` that it has are read.

    Raises:
        UsageError: the file cannot be read, or is not what its name says.
    """
    plain = path.name.removesuffix(".gz").lower()
    if plain.endswith(".parquet"):
        yield from _parquet(path, columns)
        return
    number = 0
    try:
        with _open(path) as stream:
            if plain.endswith(".csv"):
                csv.field_size_limit(MAX_FIELD_LENGTH)
                reader = csv.DictReader(stream, strict=True)  # an open quote must not swallow the rest
                for record in reader:
                    number = reader.line_num
                    yield RawRow(f"line {number}", {name: record[name] for name in columns if name in record})
            else:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        yield RawRow(f"line {number}", _object(json.loads(line)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read: {error}. It must be UTF-8 JSON lines or CSV, as it is named, gzipped if named .gz."
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise malformed(path, f"line {number}", error) from error


def malformed(path: Path, place: str, error: object) -> UsageError:
    """The error for a row that is not as rows must be."""
    return UsageError(f"{path}, {place}: {error}. {ROW_HINT}.")


def _open(path: Path) -> IO[str]:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[RawRow]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow; run: {pip_install('routing-service', 'parquet')}"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=there):
                for values in batch.to_pylist():
                    number += 1
                    yield RawRow(f"row {number}", values)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}. Is it really what its name says?") from error
