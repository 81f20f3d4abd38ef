"""Why protobuf refuses bytes: a string is not UTF-8, or they are not a message.

For errors only: protobuf's own error does not name the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from routing_service import protobuf_wire as wire
from routing_service.errors import DecisionError, Reason

# How many fields are read. A message of the right type would have fewer.
_FIELDS_LOOKED_AT = 4096


def explain(raw: bytes, kind: type[Message]) -> DecisionError:
    """The error for bytes that are not a valid message of type `kind`."""
    try:
        field = _Search(raw).bad_string(0, len(raw), _fields_of(kind.DESCRIPTOR))
    except wire.MalformedError:
        field = None
    if field is None:
        return malformed(kind)
    return DecisionError(
        Reason.INVALID_UTF8, f"`{field}` is not valid UTF-8; encode text as UTF-8.", field, {"field": field}
    )


def malformed(kind: type[Message]) -> DecisionError:
    """The error for bytes that are not a message."""
    return DecisionError(
        Reason.MALFORMED_REQUEST,
        f"The bytes are no {kind.DESCRIPTOR.full_name}; generate the client from this service's protos.",
    )


class _Field(NamedTuple):
    """A field that is a string or contains strings, with its fields."""

    name: str
    is_repeated: bool
    inner: Mapping[int, _Field] | None  # None for a string


class _Search:
    """Looks for a string that is not UTF-8."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._left = raw, _FIELDS_LOOKED_AT

    def bad_string(self, start: int, end: int, fields: Mapping[int, _Field]) -> str | None:
        """The path of the first such string in the message in `raw[start:end]`; None if there is none."""
        seen: dict[int, int] = {}
        for found in wire.fields(self._raw, start, end):
            self._left -= 1
            if self._left < 0:
                return None
            field = fields.get(found.number)
            if field is None or found.wire_type != wire.LEN:
                continue
            index = seen.get(found.number, 0)
            seen[found.number] = index + 1
            if self._raw[found.start : found.end].isascii():
                continue  # far cheaper than to look inside
            if field.inner is None:
                path = None if self._decodes(found.start, found.end) else ""
            else:
                path = self.bad_string(found.start, found.end, field.inner)
            if path is not None:
                name = f"{field.name}[{index}]" if field.is_repeated else field.name
                return f"{name}.{path}" if path else name
        return None

    def _decodes(self, start: int, end: int) -> bool:
        try:
            self._raw[start:end].decode()
        except UnicodeDecodeError:
            return False
        return True


@cache
def _fields_of(descriptor: Any) -> Mapping[int, _Field]:
    """The fields of a message type to read, by number."""
    found: dict[int, _Field] = {}
    for field in descriptor.fields:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            # A map is named as a whole, because it has no order.
            found[field.number] = _Field(field.name, False, {number: _Field("", False, None) for number in (1, 2)})
        elif kind is not None:
            found[field.number] = _Field(field.name, is_repeated(field), _fields_of(kind))
        elif field.type == FieldDescriptor.TYPE_STRING:
            found[field.number] = _Field(field.name, is_repeated(field), None)
    return found


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field is repeated. In older releases of protobuf this is the field's label."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED)
