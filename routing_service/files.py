"""Writing files. After a failure the old files are unchanged."""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from routing_service.errors import UsageError
from routing_service.scratch import SEVERAL, replacing, scratch_folder, sync_folder

# The path for standard input or output.
STDIO = Path("-")


@contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """Like `writing_bytes`, for text in UTF-8; gzipped if the name ends in `.gz`."""
    with writing_bytes(path) as raw:
        # Without a time and a name in the header, the same text gives the same file.
        packed: Any = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8") as file:
            yield file


@contextmanager
def writing_bytes(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name only when it is complete and on disk.

    If it is a symbolic link, its target is replaced. Something that is not a file, e.g. `/dev/fd/3`, is written
    directly; so is standard output, which is `-`.

    Raises:
        UsageError: it cannot be written, e.g. the folder is missing or the disk full. Any other error is the caller's.
    """
    if path == STDIO:
        with io.BufferedWriter(_StandardOutput()) as file:
            yield file
        return
    with _told(path):
        in_place = path.exists() and not (path.is_file() or path.is_dir())
        opened = _in_place(path) if in_place else _replacement(path, path.resolve())
    with opened as handle, io.BufferedWriter(_Output(handle, path)) as file:
        yield file


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files`, contents by name, into `folder`, which is made if missing. See `replacing`.

    Raises:
        UsageError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder) as fresh:
            for name, content in files.items():
                (fresh / name).write_bytes(content)
    except OSError as error:
        raise _unwritable(folder, error) from error


def prepare_folder(folder: Path) -> None:
    """Make `folder` if needed and check that it can be written to, before long work.

    Raises:
        UsageError: it cannot.
    """
    refuse_stdio(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, but results need a folder; name another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder, SEVERAL):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def refuse_stdio(folder: Path) -> None:
    """Check that `-` is not given where several files are written.

    Raises:
        UsageError: `folder` is `-`.
    """
    if folder == STDIO:
        raise UsageError("-: is standard output, but results need a folder; name one")


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
    with ExitStack() as stack:
        with _told(path):
            fresh = stack.enter_context(scratch_folder(target.parent, target.name)) / target.name
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            stack.callback(os.close, handle)
        yield handle
        with _told(path):
            os.fsync(handle)
            fresh.replace(target)
            sync_folder(target.parent)


class _Output(io.FileIO):
    """An open file that this does not close. Its own failures name `path`."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "w", closefd=False)
        self._path = path

    def write(self, data: Any, /) -> int:
        with _told(self._path):
            return super().write(data)


class _StandardOutput(io.RawIOBase):
    """Standard output, which it does not close."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with _told(STDIO):
            sys.stdout.flush()  # flush what was printed before
            count = sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return count


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has gone; that is no mistake
    except OSError as error:
        name = "standard output" if path == STDIO else path
        raise UsageError(f"{name}: cannot be written: {error.strerror}; choose another place") from error


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{folder}: cannot be written: {error.strerror}; the old content is unchanged")
