"""What is wrong with bytes that protobuf refuses: which string is not UTF-8, or that they are no message at all.

Only the error path comes here. protobuf's own error does not say which field it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from routing_service import protobuf_wire as wire
from routing_service.errors import DecisionError, Reason

# How many fields are looked at: the sender has mistaken one thing for another long before.
_FIELDS_LOOKED_AT = 8192


def explain(raw: bytes, kind: type[Message]) -> DecisionError:
    """The error for bytes that are no valid message of type `kind`."""
    descriptor: Descriptor = kind.DESCRIPTOR  # type: ignore[assignment] # either implementation's
    try:
        strings = islice(_strings(raw, 0, len(raw), descriptor, ""), _FIELDS_LOOKED_AT)
        field = next((path for path, start, end in strings if not _decodes(raw[start:end])), None)
    except wire.MalformedError:
        field = None
    if field is None:
        return malformed(kind)
    return DecisionError(
        Reason.INVALID_UTF8, f"`{field}` is not valid UTF-8; encode text as UTF-8.", field, {"field": field}
    )


def malformed(kind: type[Message]) -> DecisionError:
    """The error for bytes that are no message at all."""
    return DecisionError(
        Reason.MALFORMED_REQUEST,
        f"The bytes are no {kind.DESCRIPTOR.full_name}; generate the client from this service's protos.",
    )


def _strings(raw: bytes, start: int, end: int, descriptor: Descriptor, path: str) -> Iterator[tuple[str, int, int]]:
    """The strings of a message and of those in it: the field's path, and where the value lies."""
    seen: Counter[int] = Counter()
    for found in wire.fields(raw, start, end):
        field = descriptor.fields_by_number.get(found.number)
        if field is None or found.wire_type != wire.LEN:
            continue
        name = f"{path}{field.name}"
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:  # named as a whole, for it has no order
            yield from ((name, start, end) for _, start, end in _strings(raw, found.start, found.end, kind, ""))
            continue
        if is_repeated(field):
            name = f"{name}[{seen[found.number]}]"
            seen[found.number] += 1
        if kind is not None:
            yield from _strings(raw, found.start, found.end, kind, f"{name}.")
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield name, found.start, found.end


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field may come several times. Older releases of protobuf know it as the field's label."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED)


def _decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
