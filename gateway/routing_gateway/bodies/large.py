"""What routing needs of a large JSON body: short fields, and the newest messages with both ends of their texts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import Any

from routing_gateway.bodies import scan

MAX_TEXT_BYTES = 1 << 18
"""Of a longer text, both ends are read: more than a router reads, and 1 ms of work."""
_MAX_SCALAR_BYTES = 1 << 12
_WHOLE_BYTES = 1 << 14
_MAX_MESSAGES, _MAX_PARTS = 128, 64


class Wanted(Enum):
    """What of a top-level field is wanted."""

    SHORT = auto()
    """The value, when it is a short string, a number or a word; that of anything else is `...`."""
    TEXT = auto()
    """A string, or both ends of it; or a list's only string."""
    MESSAGES = auto()
    """A string likewise, or a list's newest messages: of large ones, the role and the texts."""


def read_wanted(
    data: bytes, at: int, wanted: Mapping[str, Wanted]
) -> scan.Steps[tuple[dict[str, Any], list[scan.Span]]]:
    """The wanted top-level fields, and where the values of `model` are.

    Args:
        data: A JSON object.
        at: Where it may begin.
        wanted: By the fields' names.

    Raises:
        ValueError: It is none, or what is wanted of it is no JSON.
    """
    found: list[tuple[str, scan.Span]] = []

    def member(key: str | None, span: scan.Span) -> None:
        if key is not None and key in wanted:
            found.append((key, span))

    start = yield from scan.skip_space(data, at)
    end = yield from scan.skip_space(data, (yield from scan.members(data, start, member)))
    if end != len(data):
        raise ValueError
    fields: dict[str, Any] = {}
    for key, span in dict(found).items():  # of a key that occurs twice, the last one counts
        read = {Wanted.SHORT: _short, Wanted.TEXT: _text, Wanted.MESSAGES: _messages}[wanted[key]]
        fields[key] = yield from read(data, span)
    return fields, [span for key, span in found if key == "model"]


def _short(data: bytes, span: scan.Span) -> scan.Steps[Any]:
    yield
    if span.length > _MAX_SCALAR_BYTES or data[span.start : span.start + 1] in (b"{", b"["):
        return ...
    return scan.scalar(data, span)


def _text(data: bytes, span: scan.Span) -> scan.Steps[Any]:
    yield
    if data[span.start : span.start + 1] != b"[":
        return scan.text(data, span, MAX_TEXT_BYTES)
    parts = yield from _last(data, span, 2)
    return [scan.text(data, part, MAX_TEXT_BYTES) for part in parts]


def _messages(data: bytes, span: scan.Span) -> scan.Steps[Any]:
    if data[span.start : span.start + 1] == b'"':
        return scan.text(data, span, MAX_TEXT_BYTES)
    if data[span.start : span.start + 1] != b"[":
        return None
    newest_first: list[Any] = []
    room, asked = MAX_TEXT_BYTES, False
    for each in reversed((yield from _last(data, span, _MAX_MESSAGES))):
        message = yield from _message(data, each)
        newest_first.append(message)
        room -= each.length
        asked = asked or (isinstance(message, dict) and message.get("role") == "user" and bool(message.get("content")))
        if asked and room < 0:
            break
    return newest_first[::-1]


def _message(data: bytes, span: scan.Span) -> scan.Steps[Any]:
    yield
    if span.length <= _WHOLE_BYTES:
        return scan.scalar(data, span)
    if data[span.start : span.start + 1] != b"{":
        return None
    members = yield from _named(data, span, {"role", "type", "content"})
    message: dict[str, Any] = {}
    for name in ("role", "type"):
        if name in members:
            message[name] = yield from _short(data, members[name])
    if "content" in members:
        content = members["content"]
        if data[content.start : content.start + 1] == b"[":
            spans = yield from _last(data, content, _MAX_PARTS)
            message["content"] = yield from _parts(data, spans)
        else:
            message["content"] = scan.text(data, content, MAX_TEXT_BYTES)
    return message


def _parts(data: bytes, spans: Iterable[scan.Span]) -> scan.Steps[list[Any]]:
    parts: list[Any] = []
    for span in spans:
        part = yield from _part(data, span)
        parts.append(part)
    return parts


def _part(data: bytes, span: scan.Span) -> scan.Steps[Any]:
    yield
    if span.length <= _WHOLE_BYTES:
        return scan.scalar(data, span)
    if data[span.start : span.start + 1] != b"{":
        return scan.text(data, span, MAX_TEXT_BYTES)
    spans = yield from _named(data, span, {"type", "text"})
    part: dict[str, Any] = {}
    if "type" in spans:
        part["type"] = yield from _short(data, spans["type"])
    if "text" in spans:
        part["text"] = scan.text(data, spans["text"], MAX_TEXT_BYTES)
    return part


def _last(data: bytes, span: scan.Span, count: int) -> scan.Steps[deque[scan.Span]]:
    """Where an array's last items are."""
    kept: deque[scan.Span] = deque(maxlen=count)
    found: Callable[[scan.Span], None] = kept.append
    yield from scan.items(data, span.start, found)
    return kept


def _named(data: bytes, span: scan.Span, names: set[str]) -> scan.Steps[dict[str, scan.Span]]:
    """Where the values of an object's members of those names are."""
    kept: dict[str, scan.Span] = {}

    def member(key: str | None, value: scan.Span) -> None:
        if key is not None and key in names:
            kept[key] = value

    yield from scan.members(data, span.start, member)
    return kept
