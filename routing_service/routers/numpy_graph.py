"""Running a small ONNX graph with numpy.

ONNX Runtime is made for graphs that take milliseconds. Around one run it does a fixed amount of work that is small in a
loop (about 10 µs) and five times that in a server, where gRPC has emptied the processor's caches in between; see
`benchmarks/README.md`. A graph of a dozen operations on a few hundred numbers is over sooner in numpy. Every operation
here is the ONNX standard's (https://onnx.ai/onnx/operators/), and none makes a row depend on the others in its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.artifacts.onnx_file import DTYPES, Node, OnnxGraph
from routing_service.routers.quick_scorer import QuickScorer

Array = npt.NDArray[Any]
Operation = Callable[..., Array]


class UnsupportedError(Exception):
    """The graph has an operation that is not implemented here; ONNX Runtime has to run it."""


class NumpyGraph:
    """A graph as a list of numpy calls.

    Args:
        graph: the nodes and weights.
        inputs: the names of the graph's inputs, in the order in which `run` takes them.
        output: the name of the value that `run` gives.

    Raises:
        UnsupportedError: the graph has an operation, or a form of one, that is not implemented here.
    """

    def __init__(self, graph: OnnxGraph, inputs: tuple[str, ...], output: str) -> None:
        nodes = _without_casts_before_sums(graph.nodes)
        slots = {name: index for index, name in enumerate((*inputs, *graph.initializers))}
        self._constants: list[Array | None] = [None] * len(inputs) + list(graph.initializers.values())
        self._steps: list[tuple[Operation, tuple[int, ...], int]] = []
        for node in nodes:
            operation = _operation(node, graph.initializers)
            slots[node.outputs[0]] = len(slots)
            try:
                reads = tuple(slots[name] for name in node.inputs if name)
            except KeyError as error:
                raise UnsupportedError(f"{node.op_type} reads {error}, which nothing before it gives") from error
            self._steps.append((operation, reads, slots[node.outputs[0]]))
        if output not in slots:
            raise UnsupportedError(f"no operation gives {output!r}")
        self._inputs, self._output, self._room = len(inputs), slots[output], [None] * len(nodes)

    def run(self, *inputs: Array) -> Array:
        """The output for these inputs."""
        values: list[Any] = [*inputs, *self._constants[self._inputs :], *self._room]
        for operation, reads, write in self._steps:
            values[write] = operation(*[values[index] for index in reads])
        result: Array = values[self._output]
        return result


def _without_casts_before_sums(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Take out a Cast whose only reader is a ReduceSum, which then sums in the cast's type: one array less."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    cast_of = {
        node.outputs[0]: node
        for node in nodes
        if node.op_type == "Cast" and [r.op_type for r in readers.get(node.outputs[0], [])] == ["ReduceSum"]
    }
    kept = []
    for node in nodes:
        if node.outputs[0] in cast_of:
            continue
        if node.op_type == "ReduceSum" and (cast := cast_of.get(node.inputs[0])):
            attributes = {**node.attributes, "dtype": DTYPES[cast.attributes["to"]]}
            kept.append(Node("ReduceSum", (cast.inputs[0], *node.inputs[1:]), node.outputs, attributes))
        else:
            kept.append(node)
    return tuple(kept)


def _operation(node: Node, constants: Mapping[str, Array]) -> Operation:
    """The function that runs a node: from the values of its inputs to that of its only output."""
    simple = _SIMPLE.get(node.op_type)
    if simple is not None and not node.attributes:
        return simple
    make = _MADE.get(node.op_type)
    if make is None:
        raise UnsupportedError(f"{node.op_type} with {sorted(node.attributes)}")
    return make(node, constants)


def _cast(node: Node, _constants: Mapping[str, Array]) -> Operation:
    dtype = DTYPES.get(node.attributes["to"])
    if dtype is None:
        raise UnsupportedError(f"Cast to type {node.attributes['to']}")
    return lambda x: x.astype(dtype)


def _gather(node: Node, _constants: Mapping[str, Array]) -> Operation:
    axis = node.attributes.get("axis", 0)
    if axis == 0:
        return lambda data, indices: data[indices]
    return lambda data, indices: data.take(indices, axis)


def _concat(node: Node, _constants: Mapping[str, Array]) -> Operation:
    axis = node.attributes["axis"]
    return lambda *parts: np.concatenate(parts, axis)


def _reduce_sum(node: Node, constants: Mapping[str, Array]) -> Operation:
    if len(node.inputs) != 2 or node.inputs[1] not in constants:
        raise UnsupportedError("ReduceSum over axes that are not constant")
    axes = tuple(constants[node.inputs[1]].tolist())
    keep, dtype = bool(node.attributes.get("keepdims", 1)), node.attributes.get("dtype")
    total: Callable[..., Array] = np.add.reduce
    return lambda x, _axes: total(x, axes, dtype, None, keep)


def _unsqueeze(node: Node, constants: Mapping[str, Array]) -> Operation:
    axes = tuple(constants[node.inputs[1]].tolist())
    return lambda x, _axes: np.expand_dims(x, axes)


def _squeeze(node: Node, constants: Mapping[str, Array]) -> Operation:
    axes = tuple(constants[node.inputs[1]].tolist())
    return lambda x, _axes: x.squeeze(axes)


def _lp_normalization(node: Node, _constants: Mapping[str, Array]) -> Operation:
    if node.attributes.get("p", 2) != 1:
        raise UnsupportedError("LpNormalization that is not of order 1")
    axis = node.attributes.get("axis", -1)

    def normalize(x: Array) -> Array:
        norm = np.add.reduce(np.abs(x), axis, keepdims=True)
        norm[norm == 0] = 1
        return np.divide(x, norm)

    return normalize


def _trees(node: Node, _constants: Mapping[str, Array]) -> Operation:
    transform = node.attributes.get("post_transform", b"NONE")
    scorer = QuickScorer.from_onnx(node.attributes)
    if scorer is None or transform not in (b"NONE", b"LOGISTIC"):
        raise UnsupportedError("TreeEnsembleRegressor of another form than LightGBM's trees, or with a transformation")
    # ONNX Runtime leaves out the logistic function where there is a single target.
    if transform == b"LOGISTIC" and scorer.targets > 1:
        return lambda rows: _sigmoid(scorer.score(rows))
    return scorer.score


def _sigmoid(x: Array) -> Array:
    """One number at a time: a vectorised exponential may round differently by place, which a row must not notice."""
    flat = [1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0 for value in x.ravel().tolist()]
    return np.array(flat).reshape(x.shape)


_SIMPLE: dict[str, Operation] = {
    "Add": np.add,
    "Div": np.divide,
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "Identity": lambda x: x,
    "MatMul": np.matmul,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Sigmoid": _sigmoid,
    "Sub": np.subtract,
}
_MADE: dict[str, Callable[[Node, Mapping[str, Array]], Operation]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "LpNormalization": _lp_normalization,
    "ReduceSum": _reduce_sum,
    "Squeeze": _squeeze,
    "TreeEnsembleRegressor": _trees,
    "Unsqueeze": _unsqueeze,
}
