"""The format of a file of rows, from its name or else from its first line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from routing_service.errors import UsageError

ADVICE = "write JSON lines, CSV or Parquet"
GZIP = ".gz"


class Format(StrEnum):
    """How rows are written. The values are for people."""

    JSON_LINES = "JSON lines"
    TABLE = "CSV"
    PARQUET = "Parquet"
    LINES = "one prompt a line"


# Suffixes with one meaning.
_NAMED = {".jsonl": Format.JSON_LINES, ".csv": Format.TABLE, ".parquet": Format.PARQUET}
# Suffixes of plain text; the first line is checked too.
_EXPECTED = {".ndjson": Format.JSON_LINES, ".jsonlines": Format.JSON_LINES, ".tsv": Format.TABLE}
# In a folder only these are read; other files are notes and licences.
SUFFIXES = (*_NAMED, *_EXPECTED)
_PLAIN_TEXT = (".txt", ".text")

_COMPRESSED = {
    ".zst": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".lzma": "LZMA",
    ".lz4": "LZ4",
    ".br": "Brotli",
    ".snappy": "Snappy",
    ".sz": "Snappy",
    ".zip": "zip",
    ".7z": "7-Zip",
    ".z": "compress",
}
_REFUSED = {
    ".tar": "a tar archive",
    ".tgz": "a tar archive",
    ".xlsx": "a spreadsheet",
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".pkl": "a pickle, which is never opened",
    ".pickle": "a pickle, which is never opened",
    ".pt": "a pickle, which is never opened",
    ".npy": "a NumPy array",
    ".npz": "NumPy arrays",
    ".arrow": "an Arrow file",
    ".feather": "an Arrow file",
    ".orc": "an ORC file",
    ".avro": "an Avro file",
    ".db": "a database",
    ".sqlite": "a database",
    ".sqlite3": "a database",
    ".pdf": "a PDF document",
}
_MAGIC = (
    (b"\x28\xb5\x2f\xfd", ".zst"),
    (b"\xfd7zXZ\x00", ".xz"),
    (b"\x04\x22\x4d\x18", ".lz4"),
    (b"PK\x03\x04", ".zip"),
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"\x1f\x9d", ".z"),
    (b"\x93NUMPY", ".npy"),
    (b"ARROW1", ".arrow"),
    (b"SQLite format 3\x00", ".db"),
    (b"%PDF-", ".pdf"),
)
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")

# A first line with one of these names is a header.
_HEADER_NAMES = frozenset(
    ("prompt", "messages", "conversation_a", "model_a", "model_b", "scores", "strong_win_rate", "embeddings")
)
_KNOWN_KEYS = _HEADER_NAMES | {"body"}
_DELIMITERS = (",", "\t", ";")
# Names in a header are shorter; a longer text is a sentence with a comma.
_MAX_HEADER_NAME = 60
_JSON_ARRAY = re.compile(r"\[\s*(\{|$)")


def suffix_of(path: Path) -> str:
    """A file's suffix before any `.gz`, in lower case."""
    return (path.with_suffix("") if path.suffix.lower() == GZIP else path).suffix.lower()


def stem_of(path: Path) -> str:
    """A file's name without the suffixes of its format."""
    name = path.name
    for suffixes in ((GZIP,), SUFFIXES):
        if (suffix := Path(name).suffix).lower() in suffixes:
            name = name.removesuffix(suffix)
    return name


def row_files(paths: Iterable[Path]) -> list[Path]:
    """The files of a folder with a suffix of rows, sorted.

    Raises:
        UsageError: one of them is compressed in an unknown way, so its rows would be missing.
    """
    found = []
    for path in sorted(paths):
        inner = path.with_suffix("") if path.suffix.lower() in (GZIP, *_COMPRESSED) else path
        if inner.suffix.lower() in SUFFIXES and path.is_file():
            check_name(path)
            found.append(path)
    return found


def check_name(path: Path) -> None:
    """Refuse a file by its name.

    Raises:
        UsageError: it is of an unsupported kind; it says which, and what to do.
    """
    for suffix in (path.suffix.lower(), suffix_of(path)):
        if suffix in _COMPRESSED or suffix in _REFUSED:
            raise _refusal(path, suffix)
    if path.suffix.lower() == GZIP and suffix_of(path) == ".parquet":
        raise UsageError(f"{path}: is gzipped Parquet, which is not read; unpack it: Parquet is compressed inside")


def check_head(path: Path, head: bytes) -> None:
    """Refuse a file by its first bytes, with any name.

    Raises:
        UsageError: as for `check_name`.
    """
    found = next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), None)
    if found is None and (match := _BZIP2.match(head) or _PICKLE.match(head)):
        found = ".bz2" if match.re is _BZIP2 else ".pkl"
    if found is not None:
        raise _refusal(path, found)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: is UTF-16 text; convert the file to UTF-8")


def named_format(path: Path) -> Format | None:
    """The format by a clear name; None if the first line must decide."""
    return _NAMED.get(suffix_of(path))


def sniffed_format(path: Path, line: str) -> Format:
    """The format by the first line that is not blank.

    `{` begins JSON lines; a line of names with a known column is a table's header; else each line is a prompt.
    In a file that is named as plain text, JSON must be an object with a known column.

    Raises:
        UsageError: it is a JSON document, or a table without a header.
    """
    start, suffix = line.strip(), suffix_of(path)
    if _JSON_ARRAY.match(start) or (suffix == ".json" and _keys(start) is None):
        raise UsageError(f"{path}: a JSON document is not read; write one object a line and name the file .jsonl")
    delimiter = delimiter_of(line)
    if suffix in _PLAIN_TEXT:
        if _KNOWN_KEYS.intersection(_keys(start) or ()):
            return Format.JSON_LINES
        return Format.TABLE if delimiter and delimiter in line else Format.LINES
    if start.startswith("{"):
        return Format.JSON_LINES
    return Format.TABLE if delimiter else _EXPECTED.get(suffix, Format.LINES)


def delimiter_of(header: str) -> str | None:
    """The separator of a header's names, None if the line has no known column."""
    for delimiter in _DELIMITERS:
        cells = _cells(header, delimiter)
        if _HEADER_NAMES.intersection(cells) and max(map(len, cells)) <= _MAX_HEADER_NAME:
            return delimiter
    return None


def is_as_named(path: Path, found: Format) -> bool:
    """Whether a format is expected from the name, so no note is needed."""
    return named_format(path) is found or (suffix_of(path) in _PLAIN_TEXT and found is Format.LINES)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.strip()], delimiter=delimiter), [])
    except csv.Error:
        return []


def _keys(line: str) -> Iterable[str] | None:
    """The keys of a line that is a JSON object, None for any other line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value.keys() if isinstance(value, dict) else None


def _refusal(path: Path, suffix: str) -> UsageError:
    if suffix in _COMPRESSED:
        return UsageError(f"{path}: is compressed with {_COMPRESSED[suffix]}, which is not read; unpack it or gzip it")
    return UsageError(f"{path}: is {_REFUSED[suffix]}; {ADVICE}")
