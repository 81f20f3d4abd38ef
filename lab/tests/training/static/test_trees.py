"""The converted trees decide exactly as LightGBM's do."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from routing_lab.training.static.trees import LEAF_STEP, float32_at_most, tree_attributes


def session(attributes: dict[str, Any]) -> onnxruntime.InferenceSession:
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 6)).astype(np.float32)
    # Coarse columns, so that many rows lie exactly on a threshold's neighbours.
    x[:, 3:] = np.rint(x[:, 3:] * 4) / np.float32(12)
    y = 1 / (1 + np.exp(-x[:, 0] * x[:, 3] - x[:, 4]))
    parameters = {"objective": "cross_entropy", "verbosity": -1, "num_leaves": 15, "num_threads": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(x, y), 40)


def test_scores_equal_lightgbms(booster: lightgbm.Booster) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5000, 6)).astype(np.float32)
    x[:, 3:] = np.rint(x[:, 3:] * 4) / np.float32(12)
    got = session(tree_attributes(booster.dump_model(), 1.5, -0.25, range(6))).run(None, {"x": x})[0][:, 0]
    # A wrong branch anywhere costs far more than rounding each of 40 leaves and the intercept to the grid.
    np.testing.assert_allclose(
        got, -0.25 + 1.5 * np.asarray(booster.predict(x, raw_score=True)), atol=41 * LEAF_STEP / 2
    )
    np.testing.assert_array_equal(got / LEAF_STEP, np.rint(got / LEAF_STEP))


def test_features_are_read_from_the_columns_that_are_named(booster: lightgbm.Booster) -> None:
    x = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32)
    columns = [3, 0, 5, 1, 4, 2]
    moved = np.empty_like(x)
    moved[:, columns] = x
    model = booster.dump_model()
    got = session(tree_attributes(model, 1.0, 0.0, columns)).run(None, {"x": moved})[0]
    np.testing.assert_array_equal(got, session(tree_attributes(model, 1.0, 0.0, range(6))).run(None, {"x": x})[0])
    assert len(np.unique(got)) > 100


def test_values_at_and_beside_every_threshold_take_lightgbms_branch(booster: lightgbm.Booster) -> None:
    attributes = tree_attributes(booster.dump_model(), 1.0, 0.0, range(6))
    splits = [
        (feature, np.float32(value))
        for feature, value, mode in zip(
            attributes["nodes_featureids"], attributes["nodes_values"], attributes["nodes_modes"], strict=True
        )
        # Magnitudes up to 1e-35 LightGBM reads as zero; no feature, being a ratio of counts, is so small and not zero.
        if mode == "BRANCH_LEQ" and abs(value) > 1e-30
    ]
    assert len(splits) > 300
    x = np.zeros((3 * len(splits), 6), np.float32)
    for row, (feature, value) in enumerate(splits):
        x[3 * row : 3 * row + 3, feature] = [
            np.nextafter(value, np.float32(-9)),
            value,
            np.nextafter(value, np.float32(9)),
        ]
    got = session(attributes).run(None, {"x": x})[0][:, 0]
    np.testing.assert_allclose(got, booster.predict(x, raw_score=True), atol=41 * LEAF_STEP / 2)


@given(st.floats(-1e30, 1e30))
def test_thresholds_round_down(threshold: float) -> None:
    rounded = float32_at_most(threshold)
    assert float(np.float32(rounded)) == rounded
    assert rounded <= threshold < float(np.nextafter(np.float32(rounded), np.float32(np.inf)))


def test_refuses_splits_that_it_would_get_wrong(booster: lightgbm.Booster) -> None:
    model = booster.dump_model()
    model["tree_info"][0]["tree_structure"]["decision_type"] = "=="
    with pytest.raises(ValueError, match="tree 0: only splits"):
        tree_attributes(model, 1.0, 0.0, range(6))


def test_refuses_sums_that_would_not_be_exact(booster: lightgbm.Booster) -> None:
    with pytest.raises(ValueError, match="exact below 64"):
        tree_attributes(booster.dump_model(), 1000.0, 0.0, range(6))
