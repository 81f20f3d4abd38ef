"""How many messages, parts, prompts and items a request has, counted in its bytes before they are parsed.

Parsing makes an object of each, and holds the interpreter while it does: four megabytes may be two million messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from routing_service.config import LimitsConfig
from routing_service.errors import DecisionError, Reason
from routing_service.protobuf_wire import I32, I64, LEN, MAX_DEPTH, VARINT, MalformedError, varint
from routing_service.server.malformed import is_repeated, malformed

# The limit that goes with a repeated field. Those that are not named here may have as many entries as `max_messages`.
_LIMITS = {
    "llmrouting.v1.BatchDecideRequest.requests": "max_batch_items",
    "llmrouting.v1.CalibrateRequest.strong_shares": "max_batch_items",
    "llmrouting.v1.Message.content": "max_parts",
}
_DEFAULT_LIMIT = "max_messages"
# How many bytes an entry of a packed field has at least. Those that are not named here have one.
_WIDTHS = {FieldDescriptor.CPPTYPE_DOUBLE: 8, FieldDescriptor.CPPTYPE_FLOAT: 4}
# What cannot be packed: each of its entries stands alone.
_ALONE = frozenset((FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE))


@dataclass(slots=True)
class _Field:
    """A field that is counted, or that holds some: its path from the request, its limit, its own message's fields."""

    path: str
    limit: str  # empty when it is not repeated
    width: int  # bytes of a packed entry, 0 where entries stand alone
    inner: _Fields | None


_Fields = Mapping[int, _Field]


class RequestCounts:
    """Checks how many entries the repeated fields of a request have, each counted over the whole request."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        # No field has less than two bytes, so that nothing so small can have too many.
        self._small = 2 * min(limits.max_batch_items, limits.max_messages, limits.max_parts)

    def check(self, raw: bytes, kind: type[Message]) -> int:
        """Check a request.

        Args:
            raw: the bytes.
            kind: what they are to be parsed as.

        Returns:
            How many fields were looked at; 0 for a small request.

        Raises:
            DecisionError: REQUEST_TOO_LARGE or BATCH_TOO_LARGE; MALFORMED_REQUEST for bytes that cannot be told apart.
        """
        return 0 if len(raw) <= self._small else _Count(raw, kind, self._limits).run()


class _Count:
    """One request being counted."""

    def __init__(self, raw: bytes, kind: type[Message], limits: LimitsConfig) -> None:
        self._raw, self._kind, self._limits = raw, kind, limits
        self._left: dict[str, int] = {}
        # A message has its role, a part its text, an item its settings: more fields than that are of no use.
        self._fields = max_fields(limits)

    def run(self) -> int:
        before = self._fields
        try:
            self._walk(0, len(self._raw), _fields_of(self._kind.DESCRIPTOR), 0)
        except (MalformedError, IndexError):
            raise malformed(self._kind) from None
        return before - self._fields

    def _walk(self, place: int, end: int, fields: _Fields, depth: int) -> None:
        """Count the fields of the message in `raw[place:end]`: `protobuf_wire.fields` spelt out, twice as fast."""
        raw, left = self._raw, self._fields
        if depth > MAX_DEPTH or end > len(raw):
            raise MalformedError
        while place < end:
            left -= 1
            if left < 0:
                raise _too_many("", max_fields(self._limits), "")
            tag = raw[place]
            place += 1
            if tag > 127:
                tag, place = varint(raw, place - 1)
            field = fields.get(tag >> 3)
            wire_type = tag & 7
            if wire_type == LEN:
                size = raw[place]
                place += 1
                if size > 127:
                    size, place = varint(raw, place - 1)
                if field is not None:
                    if field.limit:
                        self._count(field, size // field.width if field.width else 1)
                    if field.inner is not None:
                        self._fields = left
                        self._walk(place, place + size, field.inner, depth + 1)
                        left = self._fields
                place += size
                continue
            if field is not None and field.limit:
                self._count(field, 1)
            if wire_type == VARINT:
                place = place + 1 if raw[place] < 128 else varint(raw, place)[1]
            elif wire_type == I64:
                place += 8
            elif wire_type == I32:
                place += 4
            else:  # groups, which nobody sends any more, and what is no wire type
                raise MalformedError
        if place != end:
            raise MalformedError
        self._fields = left

    def _count(self, field: _Field, entries: int) -> None:
        limit = getattr(self._limits, field.limit)
        left = self._left[field.path] = self._left.get(field.path, limit) - entries
        if left < 0:
            raise _too_many(field.path, limit, field.limit)


def max_fields(limits: LimitsConfig) -> int:
    """How many fields a request may have in all."""
    return max(4 * (limits.max_messages + limits.max_parts), 32 * limits.max_batch_items)


def _too_many(path: str, limit: int, limit_name: str) -> DecisionError:
    if limit_name == "max_batch_items":
        what = "The batch has more than {:,} items" if path == "requests" else f"`{path}` has more than {{:,}} entries"
        message = f"{what.format(limit)}, the most that this server takes. Split it."
        return DecisionError(Reason.BATCH_TOO_LARGE, message, path, {"limit_items": str(limit)})
    what = f"entries of `{path}`" if path else "fields"
    return DecisionError(
        Reason.REQUEST_TOO_LARGE,
        f"The request has more than {limit:,} {what} in all, the most that this server takes. Split it, or send less.",
        path,
        {"field": path, "limit": str(limit)} if path else {"limit": str(limit)},
    )


@cache
def _fields_of(descriptor: Descriptor) -> _Fields:
    return _compile(descriptor, "", {})


def _compile(descriptor: Descriptor, path: str, above: dict[str, dict[int, _Field]]) -> _Fields:
    """The fields to look at, by number. A message that holds itself is looked at as its first occurrence is."""
    if descriptor.full_name in above:
        return above[descriptor.full_name]
    found: dict[int, _Field] = {}
    for field in descriptor.fields:
        name = f"{path}.{field.name}" if path else field.name
        inner = None
        if field.message_type is not None:
            inner = _compile(field.message_type, name, {**above, descriptor.full_name: found})
        limit = _LIMITS.get(field.full_name, _DEFAULT_LIMIT) if is_repeated(field) else ""
        if limit or inner is not None:
            width = 0 if field.cpp_type in _ALONE else _WIDTHS.get(field.cpp_type, 1)
            found[field.number] = _Field(name, limit, width, inner)
    return found
