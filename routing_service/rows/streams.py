"""The lines of a file or of standard input: unzipped, without a byte order mark, and valid UTF-8."""

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

# The name of standard input in errors.
STDIN_NAME = "<stdin>"
_GZIP_MAGIC = b"\x1f\x8b"
# Enough for the first bytes that identify a kind of file.
_HEAD_BYTES = 8192


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file or of standard input, which stays open.

    Raises:
        UsageError: it cannot be opened.
    """
    if path == STDIO:
        if sys.stdin is None:  # after the shell has closed it
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
    """Bytes. The first ones can be seen in `first` before they are read. Slow input is passed on as it comes."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source, self._rest = source, source.read1(_HEAD_BYTES)
        self.first: bytes = self._rest

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` with the available bytes, at least one before the end."""
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        if not data:
            data = self._source.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_head(source: Any, path: Path) -> Head:
    """A file's bytes; the first of them have been checked.

    Raises:
        UsageError: they cannot be read, or are of an unsupported kind.
    """
    with _readable(path):
        head = Head(source)
    check_head(path, head.first)
    return head


def text_lines(head: Head, path: Path) -> Iterator[str]:
    """The lines of bytes that begin with `head`, with their line ends; unzipped if they begin like gzip, or by name.

    Raises:
        UsageError: a line cannot be read or is not UTF-8; it says which.
    """
    with _readable(path):
        if path.suffix.lower() == GZIP or head.first.startswith(_GZIP_MAGIC):
            head = read_head(gzip.GzipFile(fileobj=head), path)
        # Bytes that are not UTF-8 become surrogates, to find their line.
        text = io.TextIOWrapper(io.BufferedReader(head), encoding="utf-8-sig", errors="surrogateescape", newline="")
        for number, line in enumerate(text, start=1):
            try:
                line.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"{name_of(path)}:{number}: is not UTF-8 text; convert the file to UTF-8") from error
            yield line


def name_of(path: Path) -> str:
    """A file's name in errors: its path, or a name for standard input."""
    return STDIN_NAME if path == STDIO else str(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{name_of(path)}: cannot be read: {error}; is the suffix right?") from error
