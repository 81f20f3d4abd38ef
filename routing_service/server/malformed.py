"""What is wrong with bytes that protobuf refuses: which string is not UTF-8, or that they are no message at all.

Only the error path comes here. protobuf's own error does not say which field it is, so the bytes are parsed a second
time with a twin of the message type in which every string field is a bytes field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.message import DecodeError, Message

from routing_service.errors import DecisionError, Reason


def explain(raw: bytes, kind: type[Message]) -> DecisionError:
    """The error for bytes that are no valid message of type `kind`."""
    twin = parse_leniently(raw, kind)
    field = next(_not_utf8(twin, kind.DESCRIPTOR, ""), None) if twin is not None else None
    if field is None:
        return DecisionError(
            Reason.MALFORMED_REQUEST,
            f"The bytes are no {kind.DESCRIPTOR.full_name}; generate the client from this service's protos.",
        )
    return DecisionError(
        Reason.INVALID_UTF8, f"`{field}` is not valid UTF-8; encode text as UTF-8.", field, {"field": field}
    )


def parse_leniently(raw: bytes, kind: type[Message]) -> Message | None:
    """Parse bytes into the twin of `kind`, in which strings are bytes. None when they are no message even so."""
    twin = _twin(kind.DESCRIPTOR)()
    try:
        twin.ParseFromString(raw)
    except DecodeError:
        return None
    return twin


@cache
def _twin(descriptor: Descriptor) -> type[Message]:
    pool = descriptor_pool.DescriptorPool()
    for file in _with_dependencies(descriptor.file, {}):
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        for message in _messages(proto.message_type):
            # A map's key may not be bytes. On the wire a map is a list of its entries.
            message.options.ClearField("map_entry")
            for field in message.field:
                if field.type == descriptor_pb2.FieldDescriptorProto.TYPE_STRING:
                    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
        pool.AddSerializedFile(proto.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(descriptor.full_name))


def _with_dependencies(file: FileDescriptor, seen: dict[str, FileDescriptor]) -> list[FileDescriptor]:
    """The file after everything that it imports."""
    for dependency in file.dependencies:
        if dependency.name not in seen:
            _with_dependencies(dependency, seen)
    seen[file.name] = file
    return list(seen.values())


def _messages(protos: Iterable[descriptor_pb2.DescriptorProto]) -> Iterator[descriptor_pb2.DescriptorProto]:
    for proto in protos:
        yield proto
        yield from _messages(proto.nested_type)


def _not_utf8(message: Message, descriptor: Any, path: str) -> Iterator[str]:
    """Paths of the bytes fields that do not decode, in field order. A map is named as a whole: it has no order.

    `descriptor` is that of the message which `message` is the twin of.
    """
    for field, value in message.ListFields():
        original = descriptor.fields_by_name[field.name]
        kind = original.message_type
        is_map = kind is not None and kind.GetOptions().map_entry
        repeated = not isinstance(value, (bytes, int, float, Message))
        for index, item in enumerate(value if repeated else [value]):
            name = f"{path}{field.name}[{index}]" if repeated and not is_map else f"{path}{field.name}"
            if isinstance(item, Message) and kind is not None:
                found = _not_utf8(item, kind, f"{name}.")
                yield from ((name for _ in found) if is_map else found)
            elif isinstance(item, bytes) and not _decodes(item):
                yield name


def _decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
