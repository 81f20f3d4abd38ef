"""Weights of battles, and an artifact's numbers: what is computed from them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

pytest.importorskip("onnx", reason="the extra `export` is not installed")

from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import Manifest, file_entry, read_manifest
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.sw_ranking.tier_ranking import (
    MAX_QUERIES,
    OUTCOMES,
    SELF_TEST,
    Solver,
    TierRanker,
    battle_weights,
    unit_vectors,
)
from tests.support.sw_ranking import DIMENSION, export_tiny

PAIR = ModelPair("big", "small")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("sw") / "artifact")


def load(folder: Path, solver: Solver = "routellm") -> TierRanker:
    return TierRanker.open(open_artifact(folder, "sw_ranking"), SessionConfig(), solver)


@pytest.fixture(scope="module")
def ranker(folder: Path) -> TierRanker:
    return load(folder)


def rewrite(folder: Path, target: Path, change: Callable[[Path], None] = lambda _: None, **fields: Any) -> Path:
    """A copy of an artifact with other files or manifest fields, and a manifest that vouches for them."""
    target.mkdir()
    old = read_manifest(folder)
    for name in old.files:
        (target / name).write_bytes((folder / name).read_bytes())
    change(target)
    files = {name: file_entry(target / name) for name in old.files}
    kept = {name: getattr(old, name) for name in ("type", "models", "max_tokens", "license", "self_test", "options")}
    (target / "manifest.json").write_text(Manifest(**{**kept, "files": files, **fields}).to_json(), encoding="utf-8")
    return target


def test_weights_are_routellm_s_but_for_a_factor() -> None:
    similarities = np.array([[0.5, 0.25, -0.5], [0.1, 0.02, 0.0]], np.float32)
    wide = similarities.astype(np.float64)
    theirs = 10 * 10 ** (wide / wide.max(axis=1, keepdims=True))
    assert battle_weights(similarities) * 100 == pytest.approx(theirs, rel=1e-5)


def test_a_negative_largest_similarity_keeps_routellm_s_formula() -> None:
    wide = np.array([[-0.2, -0.5, -0.1]])
    theirs = 10 * 10 ** (wide / wide.max())
    assert battle_weights(wide) == pytest.approx(theirs / theirs.max())
    # RouteLLM's overflows here.
    assert battle_weights(np.array([[-0.9, -1e-5]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("largest", [0.0, -0.0, 1e-9, -1e-9])
def test_battles_weigh_the_same_when_none_is_similar(largest: float) -> None:
    assert battle_weights(np.array([[largest, -0.5, -1.0]])).tolist() == [[1.0, 1.0, 1.0]]


@given(st_numpy.arrays(np.float32, (2, 5), elements=st.floats(-1, 1, width=32)))
def test_weights_are_finite_and_the_largest_is_one(similarities: npt.NDArray[np.float32]) -> None:
    weights = battle_weights(similarities)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert weights.max(axis=1).tolist() == [1.0, 1.0]


def test_unit_vectors_keep_directions_whatever_the_length() -> None:
    vectors = np.array([[3.0, 4.0], [3e38, 0.0], [0.0, 1e-44], [0.0, 0.0]], np.float32)
    expected = [[0.6, 0.8], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert unit_vectors(vectors) == pytest.approx(np.array(expected), abs=1e-7)


def test_what_no_battle_is_like_has_the_win_rate_of_all_battles_alike(ranker: TierRanker) -> None:
    rate = ranker.win_rates(np.zeros((1, DIMENSION), np.float32), *PAIR)
    assert np.isfinite(rate).all()
    assert 0.5 < rate[0] < 1.0


@pytest.mark.parametrize("solver", ["routellm", "newton"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_large_batch_gives_what_single_queries_give(tmp_path: Path, precision: str, solver: Solver) -> None:
    ranker = load(export_tiny(tmp_path / "artifact", precision=precision), solver)
    queries = np.random.default_rng(0).standard_normal((2 * MAX_QUERIES + 3, DIMENSION), np.float32)
    single = np.concatenate([ranker.win_rates(query[np.newaxis], *PAIR) for query in queries])
    assert ranker.win_rates(queries, *PAIR) == pytest.approx(single, abs=1e-5)
    assert len(set(single.round(3).tolist())) > 10  # the query matters


@given(st_numpy.arrays(np.float32, (3, DIMENSION), elements=st.floats(-(2.0**120), 2.0**120, width=32)))
def test_any_finite_vector_has_a_win_rate(ranker: TierRanker, vectors: npt.NDArray[np.float32]) -> None:
    forth, back = ranker.win_rates(vectors, *PAIR), ranker.win_rates(vectors, PAIR.weak, PAIR.strong)
    assert ((forth >= 0) & (forth <= 1)).all()
    assert forth + back == pytest.approx(np.ones(3))


def test_models_of_one_tier_win_half_the_time(ranker: TierRanker) -> None:
    tiers = ranker.settings.model2tier
    same = next((a, b) for a in tiers for b in tiers if a != b and tiers[a] == tiers[b])
    assert ranker.win_rates(np.ones((1, DIMENSION), np.float32), *same).tolist() == [0.5]


def test_newton_is_near_routellm_s_early_stop(folder: Path, ranker: TierRanker) -> None:
    queries = np.random.default_rng(1).standard_normal((5, DIMENSION), np.float32)
    newton = load(folder, "newton").win_rates(queries, *PAIR)
    assert newton == pytest.approx(ranker.win_rates(queries, *PAIR), abs=2e-3)


def save(name: str, array: npt.NDArray[Any]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, array)


def one_without_a_battle(folder: Path) -> None:
    """The number of battles stays."""
    outcomes = np.load(folder / OUTCOMES)
    outcomes[:2, 3] = outcomes[0, 3] + outcomes[1, 3], 0
    np.save(folder / OUTCOMES, outcomes)


def outcomes_with(row: list[int]) -> Callable[[Path], None]:
    """Replace the first row."""

    def change(folder: Path) -> None:
        outcomes = np.load(folder / OUTCOMES)
        outcomes[0] = row
        np.save(folder / OUTCOMES, outcomes)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (save(OUTCOMES, np.zeros((3, 3), np.int64)), r"not int64 of shape \(outcomes, 4\)"),
        (save(OUTCOMES, np.zeros((0, 4), np.int64)), r"not int64 of shape \(outcomes, 4\)"),
        (save(OUTCOMES, np.ones((3, 4))), "holds float64"),
        (outcomes_with([0, 9, 0, 5]), "tiers beyond 3"),
        (outcomes_with([0, -1, 0, 5]), "tiers beyond 3"),
        (outcomes_with([0, 1, 2, 5]), "odd results"),
        (outcomes_with([1, 1, 0, 5]), "beating itself"),
        (outcomes_with([0, 1, 0, 0]), "or none of some outcome"),
        (one_without_a_battle, "or none of some outcome"),
        (outcomes_with([0, 1, 0, 10_000]), r"counts \d+ battles, not 102"),
        (lambda folder: (folder / OUTCOMES).write_bytes(b"\x93NUMPY"), "is not a NumPy array file"),
        (save(OUTCOMES, np.array([{}], object)), "is not a NumPy array file"),
        (save(SELF_TEST, np.zeros((8, DIMENSION + 1), np.float32)), "not float32 of shape"),
        (save(SELF_TEST, np.eye(8, DIMENSION, dtype=np.float32)), "fails its self-test"),
    ],
)
def test_a_changed_file_is_refused(folder: Path, tmp_path: Path, change: Callable[[Path], None], problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem):
        load(rewrite(folder, tmp_path / "changed", change))


def test_a_graph_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    def change(target: Path) -> None:
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
        graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "other", [x], [y])
        opsets = [helper.make_opsetid("", 20)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), target / "similarity.onnx")

    with pytest.raises(ArtifactError, match=r"similarity\.onnx is not a graph from 'queries' to 'similarities'"):
        load(rewrite(folder, tmp_path / "changed", change))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dimension": 0}, "dimension must be from 1 to 65,536"),
        ({"num_tiers": 10**6}, "num_tiers must be from 1 to 64"),
        ({"dimension": "8"}, "dimension"),
        ({"num_tiers": 1}, "model2tier must give models tiers from 0 to 0"),
        ({"model2tier": {}}, "model2tier must give models tiers"),
        ({"model2tier": {"big": 0, "tiny": 1}}, "has the model 'small', which is not in its model2tier"),
        ({"surplus": 1}, "surplus"),
        ({"embedding_model": None}, "embedding_model"),
    ],
)
def test_odd_options_are_refused(folder: Path, tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    changed = rewrite(folder, tmp_path / "changed", options={**read_manifest(folder).options, **options})
    with pytest.raises(ArtifactError, match=problem) as caught:
        load(changed)
    assert caught.value.path == changed / "manifest.json"


def test_a_missing_option_is_named(folder: Path, tmp_path: Path) -> None:
    options = {key: value for key, value in read_manifest(folder).options.items() if key != "battles"}
    with pytest.raises(ArtifactError, match="battles"):
        load(rewrite(folder, tmp_path / "changed", options=options))


def test_an_edited_row_is_noticed(folder: Path, tmp_path: Path) -> None:
    target = rewrite(folder, tmp_path / "edited")
    rows = target / "similarity.onnx.data"
    rows.write_bytes(rows.read_bytes()[:-4] + b"\0\0\0\x7f")
    with pytest.raises(ArtifactError, match=r"similarity\.onnx\.data is not the file that the manifest describes"):
        load(target)


def test_the_manifest_is_json_with_the_tiers(folder: Path) -> None:
    options = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["options"]
    assert options["battles"] == 102
    assert options["model2tier"]["big"] == 0
    assert max(options["model2tier"].values()) == 2
