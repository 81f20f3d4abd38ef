"""Protobuf's wire format, read without objects: https://protobuf.dev/programming-guides/encoding/.

It looks at bytes before, or instead of, parsing them. Anything with indices like bytes will do: `bytes`, a
`memoryview`, an `mmap`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

# Protobuf itself reads nested messages to this depth.
MAX_DEPTH = 100
VARINT, I64, LEN, I32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Buffer(Protocol):
    """Anything with indices like bytes."""

    def __len__(self) -> int:
        """How many bytes there are."""
        ...

    def __getitem__(self, place: int, /) -> int:
        """The byte at a place."""
        ...


class MalformedError(ValueError):
    """The bytes are not a protobuf message."""


class Field(NamedTuple):
    """One field of a message: its number, its wire type, and the place of its value, without its length."""

    number: int
    wire_type: int
    start: int
    end: int


def varint(raw: Buffer, place: int) -> tuple[int, int]:
    """The number that begins at `place`, and its end.

    Raises:
        MalformedError: it has more than ten bytes, or the bytes end before.
    """
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        if place >= len(raw):
            break
        byte = raw[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
    raise MalformedError("a number does not end")


def fields(raw: Buffer, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message in `raw[start:end]`, in their order.

    Raises:
        MalformedError: the bytes are not a message, or have a group, which is obsolete.
    """
    place, end = start, len(raw) if end is None else end
    while place < end:
        tag = raw[place]
        place += 1
        if tag > 127:  # most numbers have one byte, and a call for each would cost more than all the rest
            tag, place = varint(raw, place - 1)
        wire_type = tag & 7
        if wire_type == LEN:
            size = raw[place] if place < end else 128
            place += 1
            if size > 127:
                size, place = varint(raw, place - 1)
        elif wire_type == VARINT:
            size = varint(raw, place)[1] - place
        elif wire_type == I64:
            size = 8
        elif wire_type == I32:
            size = 4
        else:
            raise MalformedError(f"no field has the wire type {wire_type}")
        if place + size > end:
            raise MalformedError("a field goes beyond its message")
        yield Field(tag >> 3, wire_type, place, place + size)
        place += size
