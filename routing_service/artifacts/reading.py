"""Reading an artifact's files: regular files of a sensible size, whatever stands in their place, and strict JSON."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from routing_service.errors import ArtifactError

# The largest tokenizers of language models have about 35 MB.
MAX_JSON_BYTES = 128 * 1024 * 1024
# How deep objects and lists may stand in each other.
MAX_JSON_DEPTH = 64


def open_file(path: Path, max_bytes: int) -> BinaryIO:
    """Open a file without waiting: a named pipe in its place would wait for its other end.

    Args:
        path: the file, or a link to one.
        max_bytes: how large it may be.

    Raises:
        ArtifactError: it is something else than a file, or larger.
        OSError: it cannot be opened.
    """
    # Before it is opened: opening a device may already do something.
    _check(path, path.stat(), max_bytes)
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _check(path, os.fstat(file.fileno()), max_bytes)
    except ArtifactError:
        file.close()
        raise
    return file


def read_file(path: Path, max_bytes: int) -> bytes:
    """All bytes of a file; see `open_file`."""
    with open_file(path, max_bytes) as file:
        return file.read(max_bytes)


def read_json(raw: bytes) -> Any:
    """The value of JSON in UTF-8.

    Raises:
        ValueError: it is no JSON, says a key twice (readers differ in which of them counts), has NaN or infinity, or is
            nested more than `MAX_JSON_DEPTH` deep. The message quotes no value.
    """
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _check(path: Path, status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise ArtifactError(path, f"is {what}, not a file; restore the artifact")
    if status.st_size > max_bytes:
        problem = f"has {status.st_size:,} bytes; such a file has at most {max_bytes:,}"
        raise ArtifactError(path, f"{problem}; export or train the artifact again")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value] # adds it
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_JSON_DEPTH} deep")
