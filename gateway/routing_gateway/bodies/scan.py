"""Finding one's way in large JSON without building it, in steps between which others get their turn.

`json.loads` holds the interpreter until it is done, 2 s for 30 MB of small values, and takes ten times their memory.
Here, values that nobody asked for are only skipped: quotes and brackets are matched and nothing else is checked, since
whoever the body is for will read it whole. All functions are generators that yield after about `WINDOW` bytes of work,
and return what they found; positions are offsets in bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]

WINDOW = 1 << 15
"""So that a step takes less than a millisecond."""
_STEP_COST = 64
"""What a round through this language counts as, in bytes that are matched."""
_MAX_KEY = 256
"""Longer keys are nobody's that is asked for."""
MAX_LISTED = 1 << 16
"""Members or items that are looked at one by one, a microsecond or three each; no chat has more."""
_LISTED_A_STEP = 256

_SPACE = re.compile(rb"[ \t\n\r]*+")
_SCALAR = re.compile(rb"[^\s,\]}\[{\"]++")
_OPENING, _CLOSING = re.compile(rb"[\[{]++"), re.compile(rb"[\]}]++")
_STRING_WINDOWS = (1 << 8, 1 << 11, 1 << 14)
"""Most strings are short; later windows of one string are of `WINDOW` bytes."""


def _values(levels: int) -> bytes:
    """What matches strings, other characters than brackets, and containers of up to so many levels, all whole."""
    plain = rb'[^"\[\]{}]++|"(?:[^"\\]++|\\[\s\S])*+"'
    if levels:
        inner = _values(levels - 1)
        plain += rb"|\{" + inner + rb"\}|\[" + inner + rb"\]"
    return b"(?:" + plain + b")*+"


# Three levels are a message with parts: few steps of this language remain.
_RUN = re.compile(_values(3))


class Span(NamedTuple):
    """Where a value begins and ends."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """In bytes."""
        return self.stop - self.start


def skip_space(data: bytes, at: int) -> Steps[int]:
    """The place of the next byte that is no white space."""
    while True:
        match = _SPACE.match(data, at, at + WINDOW)
        end = at if match is None else match.end()
        if end < at + WINDOW:
            return end
        at = end
        yield


def skip_value(data: bytes, at: int) -> Steps[int]:
    """The place behind the value that begins at `at`.

    Raises:
        ValueError: No value begins there, or it has no end.
    """
    first = data[at : at + 1]
    if first == b'"':
        return (yield from _skip_string(data, at + 1))
    if first in (b"{", b"["):
        return (yield from _skip_container(data, at))
    start = at
    while True:
        match = _SCALAR.match(data, at, at + WINDOW)
        if match is None:
            if at == start:
                raise ValueError
            return at
        at = match.end()
        yield


def members(data: bytes, at: int, found: Callable[[str | None, Span], None]) -> Steps[int]:
    """Read the object that begins at `at`. Returns the place behind it.

    Args:
        data: The JSON.
        at: Where.
        found: Called with each key and where its value is; None for a key that is too long to be one of interest.

    Raises:
        ValueError: It is no object, or has too many members.
    """

    def member(at: int) -> Steps[int]:
        if data[at : at + 1] != b'"':
            raise ValueError
        stop = yield from _skip_string(data, at + 1)
        key = json.loads(data[at:stop].decode(), strict=False) if stop - at <= _MAX_KEY else None
        at = yield from skip_space(data, stop)
        if data[at : at + 1] != b":":
            raise ValueError
        start = yield from skip_space(data, at + 1)
        stop = yield from skip_value(data, start)
        found(key, Span(start, stop))
        return stop

    return (yield from _listed(data, at, b"{}", member))


def items(data: bytes, at: int, found: Callable[[Span], None]) -> Steps[int]:
    """Read the array that begins at `at`, calling `found` with where each item is. Returns the place behind it.

    Raises:
        ValueError: It is no array, or has too many items.
    """

    def item(at: int) -> Steps[int]:
        stop = yield from skip_value(data, at)
        found(Span(at, stop))
        return stop

    return (yield from _listed(data, at, b"[]", item))


def text(data: bytes, span: Span, limit: int) -> str | None:
    """A string's value; of one that is longer than `limit` bytes, its two ends. None when it is no string.

    `limit` bounds the work: this is one step.
    """
    inside = data[span.start + 1 : span.stop - 1] if span.length <= limit + 2 else b""
    if data[span.start : span.start + 1] != b'"':
        return None
    if span.length <= limit + 2:
        return _unescaped(inside)
    half = limit // 2
    head = data[span.start + 1 : span.start + 1 + half]
    tail = data[span.stop - 1 - half : span.stop - 1]
    # The cut may be within a character, or an escape of up to six bytes, or a pair of those.
    first = next((found for cut in range(16) if (found := _unescaped(head[: len(head) - cut])) is not None), "")
    last = next((found for cut in range(16) if (found := _unescaped(tail[cut:])) is not None), "")
    return first + last


def scalar(data: bytes, span: Span) -> Any:
    """The value of a short string, number or word.

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(data[span.start : span.stop].decode(), strict=False)


def _unescaped(inside: bytes) -> str | None:
    try:
        value: str = json.loads(f'"{inside.decode()}"', strict=False)
    except ValueError:
        return None
    return value


def _listed(data: bytes, at: int, brackets: bytes, read: Callable[[int], Steps[int]]) -> Steps[int]:
    """Read what is between brackets, separated by commas. `read` gives the place behind what begins at a place."""
    opening, closing = brackets[:1], brackets[1:]
    if data[at : at + 1] != opening:
        raise ValueError
    at = yield from skip_space(data, at + 1)
    if data[at : at + 1] == closing:
        return at + 1
    for number in range(MAX_LISTED):
        at = yield from skip_space(data, (yield from read(at)))
        if data[at : at + 1] == closing:
            return at + 1
        if data[at : at + 1] != b",":
            raise ValueError
        at = yield from skip_space(data, at + 1)
        if number % _LISTED_A_STEP == 0:
            yield
    raise ValueError


def _skip_string(data: bytes, at: int) -> Steps[int]:
    """The place behind the string whose opening quote is before `at`."""
    windows = iter(_STRING_WINDOWS)
    while True:
        piece = data[at : at + next(windows, WINDOW)]
        if b"\\" in piece:
            # What is escaped is made something else, of the same length: pairs of backslashes first.
            piece = piece.replace(rb"\\", b"..").replace(rb"\"", b"..")
        quote = piece.find(b'"')
        if quote >= 0:
            return at + quote + 1
        size = len(piece) - piece.endswith(b"\\")  # one whose second half is in the next window
        if not size:
            raise ValueError
        at += size
        yield


def _skip_container(data: bytes, at: int) -> Steps[int]:
    depth, work = 0, 0
    while True:
        begun = at
        opening = _OPENING.match(data, at, at + WINDOW)
        if opening is not None:
            # The last one may begin a container that is short enough to be matched whole.
            at = opening.end() - 1 if depth + opening.end() - at > 1 else opening.end()
            depth += at - begun
        match = _RUN.match(data, at, at + WINDOW)
        at = at if match is None else match.end()
        closing = _CLOSING.match(data, at, at + WINDOW)
        if closing is not None:
            if closing.end() - at >= depth:
                return at + depth
            depth -= closing.end() - at
            at = closing.end()
        elif data[at : at + 1] == b'"':
            at = yield from _skip_string(data, at + 1)
        elif at >= len(data):
            raise ValueError
        elif at == begun:  # a container that is too deep or too long to be matched whole
            depth, at = depth + 1, at + 1
        work += at - begun + _STEP_COST
        if work > WINDOW:
            work = 0
            yield
