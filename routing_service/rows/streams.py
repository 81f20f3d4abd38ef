"""The lines of a file or of standard input: unzipped, without a byte order mark, and checked to be UTF-8."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from routing_service.errors import UsageError
from routing_service.files import STDIO
from routing_service.rows.formats import GZIP, check_head

# What errors call standard input.
STDIN_NAME = "<stdin>"
_GZIP_MAGIC = b"\x1f\x8b"
# Enough for the first bytes that tell what a file is.
_HEAD_BYTES = 8192


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, or those of standard input, which stays open.

    Raises:
        UsageError: it cannot be opened.
    """
    if path == STDIO:
        if sys.stdin is None:  # so it is when the shell closes it
            raise UsageError("standard input is closed; pipe rows into it, or name a file")
        yield sys.stdin.buffer
        return
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name an existing file") from error
    with raw:
        yield raw


class Head(io.RawIOBase):
    """Bytes whose first ones, in `first`, can be looked at before they are read. What comes slowly is passed on."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source, self._rest = source, source.read1(_HEAD_BYTES)
        self.first: bytes = self._rest

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` with what is there, at least one byte before the end."""
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        if not data:
            data = self._source.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_head(source: Any, path: Path) -> Head:
    """A file's bytes, the first of them looked at.

    Raises:
        UsageError: they cannot be read, or are of a kind that is not read.
    """
    with _readable(path):
        head = Head(source)
    check_head(path, head.first)
    return head


def text_lines(head: Head, path: Path) -> Iterator[str]:
    """The lines of what begins with `head`, with their ends; unzipped where it begins as gzip does, or is named so.

    Raises:
        UsageError: a line cannot be read or is not UTF-8; says which.
    """
    with _readable(path):
        if path.suffix.lower() == GZIP or head.first.startswith(_GZIP_MAGIC):
            head = read_head(gzip.GzipFile(fileobj=head), path)
        # Bytes that are no UTF-8 come as surrogates, so that it can be told in which line they are.
        text = io.TextIOWrapper(io.BufferedReader(head), encoding="utf-8-sig", errors="surrogateescape", newline="")
        for number, line in enumerate(text, start=1):
            try:
                line.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"{name_of(path)}:{number}: is not UTF-8 text; convert the file to UTF-8") from error
            yield line


def name_of(path: Path) -> str:
    """What errors call a file: its path, or a name for standard input."""
    return STDIN_NAME if path == STDIO else str(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{name_of(path)}: cannot be read: {error}; is it really what its name says?") from error
