"""Writing an ONNX graph node by node, with weights that go to disk as they come.

Exporters build their graphs here instead of tracing a model: the graph then holds ONNX Runtime's fused operators from
the start, needs no particular version of the source framework, and a checkpoint larger than memory passes through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export_onnx.quantize import Precision, quantize_columns, quantize_rows

if TYPE_CHECKING:
    import onnx

# ONNX's numbers of the element types: https://onnx.ai/onnx/api/classes.html#tensorproto
FLOAT, INT64, BOOL, FLOAT16 = 1, 7, 9, 10
# Understood by ONNX Runtime 1.20, the oldest that serves: https://onnxruntime.ai/docs/reference/compatibility.html
OPSET, IR_VERSION = 20, 10
# ONNX Runtime's own operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
FUSED = "com.microsoft"
# A protobuf message holds less than 2 GiB; beyond this the weights stay in a file of their own.
MAX_INLINE_BYTES = 1_900_000_000
# Weights below this many bytes are always part of the graph.
SMALL = 1024

Array = npt.NDArray[Any]


class GraphWriter:
    """Collects nodes and weights, and writes `path` (and `path` + `.data` for large weights).

    Args:
        path: the graph's file. Nothing but this and its `.data` is written.
        precision: what `linear` and `weight` store weights as.
        max_inline_bytes: with more bytes of weights than this, they go to the `.data` file.
    """

    def __init__(self, path: Path, precision: Precision, max_inline_bytes: int = MAX_INLINE_BYTES) -> None:
        self.path, self.precision = path, precision
        self.data_path = path.with_name(path.name + ".data")
        self._max_inline_bytes = max_inline_bytes
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self.data_path.unlink(missing_ok=True)
        self._data_bytes = 0
        self._count = 0

    @property
    def float_type(self) -> int:
        """The ONNX element type of activations: FLOAT16 for fp16, else FLOAT."""
        return FLOAT16 if self.precision == "fp16" else FLOAT

    def op(self, kind: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and give the output's name, `name` if given."""
        return self.ops(kind, *inputs, names=(name or self._fresh(kind),), domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, names: Sequence[str], domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node whose outputs have these names. An empty input name is an optional input left out."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return tuple(names)

    def names(self, kind: str, count: int) -> tuple[str, ...]:
        """Fresh names for the outputs of a node."""
        return tuple(self._fresh(kind) for _ in range(count))

    def constant(self, name: str, values: npt.ArrayLike, dtype: npt.DTypeLike = np.int64) -> str:
        """A constant, by default of 64-bit integers; the same name twice is the same constant."""
        if name not in self._initializers:
            self._store(name, np.asarray(values, dtype))
        return name

    def number(self, name: str, value: float) -> str:
        """A scalar of the activations' type."""
        return self.constant(name, value, np.float16 if self.precision == "fp16" else np.float32)

    def weight(self, name: str, values: Array) -> str:
        """A weight that is used as it is: float32, or float16 in an fp16 graph."""
        return self.constant(name, values, np.float16 if self.precision == "fp16" else np.float32)

    def linear(self, x: str, name: str, weight: Array, *, in_floats: bool = False) -> str:
        """`x` of shape (rows, K) times `weight` of shape (N, K), as checkpoints store it: (rows, N)."""
        return self.linears(x, {name: weight}, in_floats=in_floats)[0]

    def linears(self, x: str, weights: Mapping[str, Array], *, in_floats: bool = False) -> list[str]:
        """`x` times each of several weights, by name, as `linear` does.

        In int8 every row of `x` gets a scale of its own, so that what shares its batch does not change its result;
        `in_floats` leaves these weights out of that.
        """
        columns = {name: np.ascontiguousarray(weight.T) for name, weight in weights.items()}
        if self.precision != "int8" or in_floats:
            return [self.op("MatMul", x, self.weight(name, values)) for name, values in columns.items()]
        rows, row_scales = self._quantize_rows(x)
        products = []
        for name, values in columns.items():
            quantized, scales = quantize_columns(values)
            product = self.op(
                "MatMulIntegerToFloat",
                rows,
                self.constant(name + ".int8", quantized, np.int8),
                self.constant("int8.one", 1, np.float32),
                self.constant(name + ".scales", scales, np.float32),
                self.constant("int8.zero_point", 128, np.uint8),
                self.constant("int8.weight_zero_point", 0, np.int8),
                domain=FUSED,
            )
            products.append(self.op("Mul", product, row_scales))
        return products

    def embedding(self, ids: str, name: str, table: Array) -> str:
        """Rows of `table`, of shape (N, K), by int64 `ids` of any shape: (…, K). In int8 each row has its own scale."""
        if self.precision != "int8":
            return self.op("Gather", self.weight(name, table), ids, axis=0)
        quantized, scales = quantize_rows(table)
        rows = self.op("Gather", self.constant(name + ".int8", quantized, np.int8), ids, axis=0)
        row_scales = self.op("Gather", self.constant(name + ".scales", scales, np.float32), ids, axis=0)
        return self.op("Mul", self.cast(rows), row_scales)

    def cast(self, x: str, to: int | None = None, name: str = "") -> str:
        """`x` as another element type, by default the activations'."""
        return self.op("Cast", x, name=name, to=self.float_type if to is None else to)

    def softmax_float32(self, logits: str) -> str:
        """Probabilities over the last axis, in float32 whatever the graph's precision."""
        return self.op("Softmax", self.cast(logits, FLOAT), axis=-1)

    def finish(
        self,
        inputs: Mapping[str, tuple[int, Sequence[int | str]]],
        outputs: Mapping[str, tuple[int, Sequence[int | str]]],
    ) -> list[str]:
        """Write the graph. Inputs and outputs map a name to its element type and shape; a text is a free dimension.

        Returns:
            The names of the files written.
        """
        from onnx import helper

        external = self._data_bytes > self._max_inline_bytes
        if not external and self._data_bytes:
            self._inline_data()
            self.data_path.unlink()
        graph = helper.make_graph(
            self._nodes,
            "router",
            [helper.make_tensor_value_info(name, *typed) for name, typed in inputs.items()],
            [helper.make_tensor_value_info(name, *typed) for name, typed in outputs.items()],
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="routing-service")
        self.path.write_bytes(model.SerializeToString(deterministic=True))
        return [self.path.name, *([self.data_path.name] if external else [])]

    def _quantize_rows(self, x: str) -> tuple[str, str]:
        """The rows of `x`, of shape (rows, K), as uint8 around 128, and their scales of shape (rows, 1)."""
        axis = self.constant("int8.axis", [-1])
        highest = self.op("ReduceMax", x, axis, keepdims=0)
        lowest = self.op("Neg", self.op("ReduceMin", x, axis, keepdims=0))
        least = self.constant("int8.least", 1e-30, np.float32)  # a row of zeros stays zeros
        largest = self.op("Max", highest, lowest, least)
        scales = self.op("Mul", largest, self.constant("int8.step", 1 / 127, np.float32))
        zero_point = self.constant("int8.zero_point", 128, np.uint8)
        zero_points = self.op("Expand", zero_point, self.op("Shape", scales))
        rows = self.op("QuantizeLinear", x, scales, zero_points, axis=0)
        return rows, self.op("Unsqueeze", scales, axis)

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def _store(self, name: str, values: Array) -> None:
        from onnx import TensorProto, helper, numpy_helper

        if values.nbytes < SMALL:
            self._initializers[name] = numpy_helper.from_array(values, name)
            return
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape)
        place = {"location": self.data_path.name, "offset": self._data_bytes, "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL
        with self.data_path.open("ab") as file:
            file.write(np.ascontiguousarray(values).data)
        self._data_bytes += values.nbytes
        self._initializers[name] = tensor

    def _inline_data(self) -> None:
        from onnx import TensorProto

        with self.data_path.open("rb") as file:
            for tensor in self._initializers.values():
                if tensor.data_location == TensorProto.EXTERNAL:
                    place = {entry.key: entry.value for entry in tensor.external_data}
                    file.seek(int(place["offset"]))
                    tensor.raw_data = file.read(int(place["length"]))
                    tensor.ClearField("external_data")
                    tensor.data_location = TensorProto.DEFAULT
