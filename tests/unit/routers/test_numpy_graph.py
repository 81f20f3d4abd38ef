"""The numpy runner against ONNX Runtime, on the graph that ships and on graphs made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from routing_service.artifacts.onnx_file import read_onnx
from routing_service.errors import ArtifactError
from routing_service.routers.numpy_graph import NumpyGraph, UnsupportedError
from routing_service.routers.quick_scorer import QuickScorer
from routing_service.routers.static import INPUTS, OUTPUT, PAD_ID
from routing_service.routers.static_text import StaticTextEncoder, pad_ids

GRAPH = DEFAULT_ARTIFACT / "model.onnx"
ENCODER = StaticTextEncoder(DEFAULT_ARTIFACT / "tokenizer.json", 512)
SESSION = ort.InferenceSession(str(GRAPH), providers=["CPUExecutionProvider"])
RUNNER = NumpyGraph(read_onnx(GRAPH), INPUTS, OUTPUT)
TEXTS = st.lists(
    st.text(max_size=300) | st.sampled_from(["Prove it. " * 40, "def f(x):\n    return x\n", "2+2="]), min_size=1
)


@settings(max_examples=60)
@given(TEXTS)
def test_the_shipped_graph_gives_what_onnx_runtime_gives(texts: list[str]) -> None:
    encoded = [ENCODER.encode(text) for text in texts]
    ids, counts = pad_ids(encoded, PAD_ID), np.stack([e.byte_counts for e in encoded])
    wanted = SESSION.run((OUTPUT,), {"token_ids": ids, "byte_counts": counts})[0]
    got = RUNNER.run(ids, counts)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@settings(max_examples=60)
@given(TEXTS)
def test_a_row_does_not_depend_on_its_batch(texts: list[str]) -> None:
    encoded = [ENCODER.encode(text) for text in texts]
    batch = RUNNER.run(pad_ids(encoded, PAD_ID), np.stack([e.byte_counts for e in encoded]))
    for e, rate in zip(encoded, batch.tolist(), strict=True):
        assert RUNNER.run(pad_ids([e], PAD_ID), e.byte_counts[np.newaxis]).tolist() == [rate]


def tree_attributes(rng: np.random.Generator, trees: int, leaves: int, features: int) -> dict[str, Any]:
    """Random trees, grown by splitting a random leaf, in the attributes of a TreeEnsembleRegressor."""
    a: dict[str, list[Any]] = {
        f"nodes_{n}": [] for n in ("treeids", "nodeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")
    }
    a |= {f"target_{n}": [] for n in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        children: dict[int, tuple[int, int]] = {}
        open_leaves = [0]
        while len(open_leaves) < leaves:
            node = open_leaves.pop(int(rng.integers(len(open_leaves))))
            children[node] = (2 * len(children) + 1, 2 * len(children) + 2)
            open_leaves += children[node]
        for node in range(2 * leaves - 1):
            inner = node in children
            a["nodes_treeids"].append(tree)
            a["nodes_nodeids"].append(node)
            a["nodes_modes"].append("BRANCH_LEQ" if inner else "LEAF")
            a["nodes_featureids"].append(int(rng.integers(features)) if inner else 0)
            a["nodes_values"].append(float(np.float32(rng.normal())) if inner else 0.0)
            a["nodes_truenodeids"].append(children[node][0] if inner else 0)
            a["nodes_falsenodeids"].append(children[node][1] if inner else 0)
            if not inner:
                a["target_treeids"].append(tree)
                a["target_nodeids"].append(node)
                a["target_ids"].append(0)
                a["target_weights"].append(float(np.float32(rng.normal())))
    return a


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> Path:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.mark.parametrize(("trees", "leaves"), [(1, 2), (3, 8), (7, 9), (20, 17), (5, 33), (4, 64)])
def test_trees_of_any_shape(tmp_path: Path, trees: int, leaves: int) -> None:
    rng = np.random.default_rng(trees * 100 + leaves)
    attributes = tree_attributes(rng, trees, leaves, 5)
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 1])
    path = save(tmp_path / "trees.onnx", [node], [x], [y], {})
    rows = rng.normal(size=(200, 5)).astype(np.float32)
    # A value that equals a threshold goes with the true branch.
    rows[:50, 0] = rng.choice(np.array(attributes["nodes_values"], np.float32), 50)
    wanted = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": rows})[0]
    np.testing.assert_allclose(NumpyGraph(read_onnx(path), ("x",), "y").run(rows), wanted, atol=1e-5)


@pytest.mark.parametrize("leaves", [1, 65])
def test_trees_that_are_not_handled(leaves: int) -> None:
    attributes = tree_attributes(np.random.default_rng(0), 2, leaves, 3)
    attributes["nodes_modes"] = [mode.encode() for mode in attributes["nodes_modes"]]
    assert QuickScorer.from_onnx(attributes) is None


def test_an_operation_that_is_not_implemented_is_said(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B"])
    path = save(tmp_path / "erf.onnx", [helper.make_node("Erf", ["x"], ["y"])], [x], [y], {})
    with pytest.raises(UnsupportedError, match="Erf"):
        NumpyGraph(read_onnx(path), ("x",), "y")


def test_what_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x0a\xff\xff")
    with pytest.raises(ArtifactError, match="not an ONNX model"):
        read_onnx(path)
