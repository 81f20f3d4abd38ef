"""Reading a small ONNX graph without the onnx package: its nodes and initializers, as plain Python and numpy.

Only what `routing_service.routers.numpy_graph` needs is described here. Field numbers are those of the ONNX standard
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); unknown fields are skipped, as protobuf does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from routing_service.errors import ArtifactError

_TYPE = descriptor_pb2.FieldDescriptorProto
# Message -> field -> (number, type or message, repeated).
_MESSAGES: dict[str, dict[str, tuple[int, int | str, bool]]] = {
    "Model": {"graph": (7, "Graph", False)},
    "Graph": {"node": (1, "Node", True), "initializer": (5, "Tensor", True)},
    "Node": {
        "input": (1, _TYPE.TYPE_STRING, True),
        "output": (2, _TYPE.TYPE_STRING, True),
        "op_type": (4, _TYPE.TYPE_STRING, False),
        "attribute": (5, "Attribute", True),
    },
    "Attribute": {
        "name": (1, _TYPE.TYPE_STRING, False),
        "f": (2, _TYPE.TYPE_FLOAT, False),
        "i": (3, _TYPE.TYPE_INT64, False),
        "s": (4, _TYPE.TYPE_BYTES, False),
        "floats": (7, _TYPE.TYPE_FLOAT, True),
        "ints": (8, _TYPE.TYPE_INT64, True),
        "strings": (9, _TYPE.TYPE_BYTES, True),
        "type": (20, _TYPE.TYPE_INT32, False),
    },
    "Tensor": {
        "dims": (1, _TYPE.TYPE_INT64, True),
        "data_type": (2, _TYPE.TYPE_INT32, False),
        "float_data": (4, _TYPE.TYPE_FLOAT, True),
        "int32_data": (5, _TYPE.TYPE_INT32, True),
        "int64_data": (7, _TYPE.TYPE_INT64, True),
        "name": (8, _TYPE.TYPE_STRING, False),
        "raw_data": (9, _TYPE.TYPE_BYTES, False),
        "data_location": (14, _TYPE.TYPE_INT32, False),
    },
}
# ONNX's numbers of data types and attribute types.
DTYPES: dict[int, Any] = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 11: np.float64}
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: its type, the names it reads (empty: left out) and writes, and its attributes."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """Nodes in an order in which they can be run, and initializers by name."""

    nodes: tuple[Node, ...]
    initializers: dict[str, npt.NDArray[Any]]


def read_onnx(path: Path) -> OnnxGraph:
    """Read a graph whose hash was checked.

    Raises:
        ArtifactError: it is no ONNX model, or has data in other files or of a type that is not known here.
    """
    model = _classes()["Model"]()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ArtifactError(path, "is not an ONNX model") from error
    graph: Any = model.graph
    initializers = {tensor.name: _array(tensor, path) for tensor in graph.initializer}
    return OnnxGraph(tuple(_node(node) for node in graph.node), initializers)


def _node(node: Any) -> Node:
    # Attributes of other types (subgraphs, tensors) are left out: an operation that has one is not run by numpy anyway.
    attributes = {a.name: getattr(a, _ATTRIBUTES[a.type]) for a in node.attribute if a.type in _ATTRIBUTES}
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


def _array(tensor: Any, path: Path) -> npt.NDArray[Any]:
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None or tensor.data_location:
        raise ArtifactError(path, f"has an initializer {tensor.name!r} that is not stored in the file as plain numbers")
    if tensor.raw_data:
        flat = np.frombuffer(tensor.raw_data, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    else:
        flat = np.array(tensor.float_data or tensor.int64_data or tensor.int32_data, dtype)
    return flat.reshape(tuple(tensor.dims))


@cache
def _classes() -> dict[str, Any]:
    """Message classes for `_MESSAGES`, in a pool of their own: the onnx package may be loaded as well."""
    file = descriptor_pb2.FileDescriptorProto(name="onnx_subset.proto", package="onnx_subset", syntax="proto2")
    for name, described in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in described.items():
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                added.type, added.type_name = _TYPE.TYPE_MESSAGE, f".onnx_subset.{kind}"
            else:
                added.type = kind  # type: ignore[assignment] # an enum's number
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnx_subset.{n}")) for n in _MESSAGES}
