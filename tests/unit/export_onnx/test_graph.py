"""Graphs written node by node, their weights, and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("onnx", reason="the extra `export` is not installed")

from onnx import TensorProto

from export_onnx.graph import GraphWriter
from export_onnx.quantize import Precision, fits_float16, quantize_columns, quantize_rows

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((24, 16)).astype(np.float32)
ROWS = RNG.standard_normal((6, 16)).astype(np.float32) * 10.0 ** RNG.integers(-3, 3, (6, 1))
ROWS = ROWS.astype(np.float32)
FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-1e3, 1e3, width=32)
)


def write(path: Path, precision: Precision, max_inline_bytes: int = 10**9) -> list[str]:
    graph = GraphWriter(path, precision, max_inline_bytes)
    narrow = graph.cast("x", graph.float_type)
    graph.cast(graph.linear(narrow, "w", WEIGHT), TensorProto.FLOAT, name="y")
    return graph.finish({"x": (TensorProto.FLOAT, ("rows", 16))}, {"y": (TensorProto.FLOAT, ("rows", 24))})


def run(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result: np.ndarray[Any, Any] = session.run(["y"], {"x": x})[0]
    return result


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 2e-3), ("int8", 2e-2)])
def test_a_linear_layer_is_the_product_within_its_precision(
    tmp_path: Path, precision: Precision, tolerance: float
) -> None:
    assert write(tmp_path / "g.onnx", precision) == ["g.onnx"]
    wanted = ROWS @ WEIGHT.T
    difference = np.abs(run(tmp_path / "g.onnx", ROWS) - wanted) / np.abs(wanted).max(axis=1, keepdims=True)
    assert difference.max() < tolerance


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_row_does_not_depend_on_its_batch(tmp_path: Path, precision: Precision) -> None:
    write(tmp_path / "g.onnx", precision)
    together = run(tmp_path / "g.onnx", ROWS)
    alone = np.concatenate([run(tmp_path / "g.onnx", row[np.newaxis]) for row in ROWS])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_a_row_of_zeros_stays_zero_in_int8(tmp_path: Path) -> None:
    write(tmp_path / "g.onnx", "int8")
    np.testing.assert_array_equal(run(tmp_path / "g.onnx", np.zeros((2, 16), np.float32)), 0)


def test_large_weights_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    assert write(tmp_path / "g.onnx", "fp32", max_inline_bytes=100) == ["g.onnx", "g.onnx.data"]
    assert (tmp_path / "g.onnx.data").stat().st_size == WEIGHT.nbytes
    write(tmp_path / "inline.onnx", "fp32")
    assert not (tmp_path / "inline.onnx.data").exists()
    np.testing.assert_array_equal(run(tmp_path / "g.onnx", ROWS), run(tmp_path / "inline.onnx", ROWS))


def test_the_same_graph_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        write(tmp_path / name, "int8")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@given(FLOATS)
def test_int8_is_within_half_a_step(weight: np.ndarray[Any, Any]) -> None:
    for quantize, axis in ((quantize_columns, 0), (quantize_rows, 1)):
        quantized, scales = quantize(weight)
        assert quantized.min() >= -127
        assert np.isfinite(scales).all()
        step = np.maximum(np.abs(weight).max(axis=axis, keepdims=True) / 127, 1e-37)
        assert (np.abs(quantized * scales - weight) <= step * 0.501).all()


def test_what_fits_float16() -> None:
    assert fits_float16(np.array([65504.0, -65504.0]))
    assert not fits_float16(np.array([65520.0]))
    assert fits_float16(np.array([]))
