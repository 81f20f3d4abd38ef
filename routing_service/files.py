"""Writing a file so that a failure leaves the old one intact."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from routing_service.errors import UsageError


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """A UTF-8 text file that takes its name only when it is whole and on disk; gzipped when the name ends in `.gz`.

    Of a symbolic link the target is replaced. What is no file, e.g. `/dev/stdout`, is written to as text comes.

    Raises:
        UsageError: it cannot be written, e.g. the folder is missing or the disk full. Any other error is the caller's.
    """
    with _told(path):
        in_place = path.exists() and not (path.is_file() or path.is_dir())
        opened = _in_place(path) if in_place else _replacement(path, path.resolve())
    with opened as handle, _text(handle, path) as file:
        yield file


@contextmanager
def _in_place(path: Path) -> Iterator[int]:
    with _told(path):
        handle = os.open(path, os.O_WRONLY)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _replacement(path: Path, target: Path) -> Iterator[int]:
    with _told(path):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        yield handle
        with _told(path):
            os.fsync(handle)
            os.fchmod(handle, 0o666 & ~_umask())
            Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


@contextmanager
def _text(handle: int, path: Path) -> Iterator[IO[str]]:
    with io.BufferedWriter(_Output(handle, path)) as buffered:
        # Without a time and a name in its header, the same text is the same file.
        packed = gzip.GzipFile("", "wb", fileobj=buffered, mtime=0) if path.suffix == ".gz" else buffered
        with io.TextIOWrapper(packed, encoding="utf-8") as file:
            yield file


class _Output(io.FileIO):
    """An open file that it does not close. Its failures are told as `path`'s; the code around it has others."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "w", closefd=False)
        self._path = path

    def write(self, data: Any, /) -> int:
        with _told(self._path):
            return super().write(data)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has gone, which is nobody's mistake
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
