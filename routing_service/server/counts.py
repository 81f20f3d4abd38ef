"""Counts a request's messages, parts, prompts and items in its bytes, before they are parsed.

Parsing makes an object of each and blocks the interpreter: four megabytes may be two million messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from routing_service.config import LimitsConfig
from routing_service.engine.pacing import yield_to_others
from routing_service.errors import DecisionError, Reason
from routing_service.protobuf_wire import I32, I64, LEN, MAX_DEPTH, VARINT, MalformedError, varint
from routing_service.server.malformed import is_repeated, malformed

# The limit of a repeated field. Other fields may have up to `max_messages` entries.
_LIMITS = {
    "llmrouting.v1.BatchDecideRequest.requests": "max_batch_items",
    "llmrouting.v1.CalibrateRequest.strong_shares": "max_batch_items",
    "llmrouting.v1.Message.content": "max_parts",
}
# How many fields are counted in one turn of the event loop, about a millisecond's work.
FIELDS_A_TURN = 4096
_DEFAULT_LIMIT = "max_messages"
# The fewest bytes of an entry of a packed field. For other types it is one.
_WIDTHS = {FieldDescriptor.CPPTYPE_DOUBLE: 8, FieldDescriptor.CPPTYPE_FLOAT: 4}
# Types that cannot be packed: each entry is a field.
_ALONE = frozenset((FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE))


@dataclass(slots=True)
class _Field:
    """A counted field, or one that contains such fields: its path from the request, its limit, its message's fields."""

    path: str
    limit: str  # empty when it is not repeated
    width: int  # bytes of a packed entry, 0 if entries are not packed
    inner: _Fields | None


_Fields = Mapping[int, _Field]


class RequestCounts:
    """Checks the number of entries of a request's repeated fields, each over the whole request."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        # A field has at least two bytes, so a smaller request cannot have too many.
        self._small = 2 * min(limits.max_batch_items, limits.max_messages, limits.max_parts)

    async def admit(self, raw: bytes, kind: type[Message]) -> None:
        """Check a request before it is parsed, and give other calls their turns.

        Args:
            raw: the bytes.
            kind: the message type.

        Raises:
            DecisionError: REQUEST_TOO_LARGE or BATCH_TOO_LARGE; MALFORMED_REQUEST for bytes that cannot be read.
        """
        if len(raw) > self._small:
            count = _Count(raw, kind, self._limits)
            while not count.go_on(FIELDS_A_TURN):
                await yield_to_others()


class _Count:
    """The counting of one request."""

    def __init__(self, raw: bytes, kind: type[Message], limits: LimitsConfig) -> None:
        self._raw, self._kind, self._limits = raw, kind, limits
        self._left: dict[str, int] = {}
        # A message has its role, a part its text, an item its settings: more fields make no sense.
        self._fields = max_fields(limits)
        self._place, self._end, self._known = 0, len(raw), _fields_of(kind.DESCRIPTOR)
        # The messages around the current one: the end of each, and its fields to count.
        self._around: list[tuple[int, _Fields]] = []

    def go_on(self, fields: int) -> bool:
        """Read this many more fields. Returns whether the end is reached."""
        self._fields -= fields
        try:
            is_done = self._walk(fields)
        except (MalformedError, IndexError):
            raise malformed(self._kind) from None
        if not is_done and self._fields <= 0:
            raise _too_many("", max_fields(self._limits), "")
        return is_done

    def _walk(self, fields: int) -> bool:
        """`protobuf_wire.fields` for nested messages, written out for speed: it runs for every request."""
        raw, place, end, known = self._raw, self._place, self._end, self._known
        while True:
            while place == end:
                if not self._around:
                    return True
                end, known = self._around.pop()
            if not fields:
                break
            fields -= 1
            tag = raw[place]
            place += 1
            if tag > 127:
                tag, place = varint(raw, place - 1)
            field = known.get(tag >> 3)
            wire_type = tag & 7
            if wire_type == LEN:
                size = raw[place]
                place += 1
                if size > 127:
                    size, place = varint(raw, place - 1)
                if field is not None:
                    if field.limit:
                        self._count(field, size // field.width if field.width else 1)
                    if field.inner is not None and place + size <= end:
                        self._around.append((end, known))
                        end, known, size = place + size, field.inner, 0
                        if len(self._around) > MAX_DEPTH:
                            raise MalformedError
                place += size
            else:
                if field is not None and field.limit:
                    self._count(field, 1)
                if wire_type == VARINT:
                    place = place + 1 if raw[place] < 128 else varint(raw, place)[1]
                elif wire_type == I64:
                    place += 8
                elif wire_type == I32:
                    place += 4
                else:  # groups, which are obsolete, and unknown wire types
                    raise MalformedError
            if place > end:
                raise MalformedError
        self._place, self._end, self._known = place, end, known
        return False

    def _count(self, field: _Field, entries: int) -> None:
        limit = getattr(self._limits, field.limit)
        left = self._left[field.path] = self._left.get(field.path, limit) - entries
        if left < 0:
            raise _too_many(field.path, limit, field.limit)


def max_fields(limits: LimitsConfig) -> int:
    """The most fields of a request."""
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
    """The fields to read, by number. A message inside itself is read like its first occurrence."""
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
