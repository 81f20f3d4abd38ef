"""The `mf` router: any pair of its models, its names, its self-test, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import structlog

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("safetensors", reason="the extra `export` is not installed")

import onnx
from hypothesis import given
from hypothesis import strategies as st

from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import Manifest, SelfTest, file_entry, read_manifest
from routing_service.config import parse_config
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.errors import ArtifactError, ConfigError, DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import RouterContext
from routing_service.routers.mf import MatrixFactorizationRouter
from tests.support.mf import IDS, export_tiny

PAIR = ModelPair("big", "small")
PAIRS = st.permutations(IDS).map(lambda ids: ModelPair(*ids[:2]))


class Counting(Embedder):
    """A text of n characters becomes (n, 1, 1, …)."""

    def __init__(self, dimension: int = 8, model: str | None = None, claims: int | None = 8) -> None:
        super().__init__(dimension=claims, max_tokens=77)
        self.concurrency, self.model, self._length = 5, model, dimension

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        raise NotImplementedError(context.name)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        vectors = np.ones((len(texts), self._length), np.float32)
        vectors[:, 0] = [len(text) for text in texts]
        return Embeddings(vectors, [len(text) for text in texts], [len(text) > 3 for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("mf") / "artifact", embedding_model="e")


@pytest.fixture(scope="module")
def router(folder: Path) -> MatrixFactorizationRouter:
    return MatrixFactorizationRouter(open_artifact(folder, "mf"), Counting())


def load(folder: Path, models: ModelPair | None = None, **embedder: Any) -> MatrixFactorizationRouter:
    return MatrixFactorizationRouter(open_artifact(folder, "mf"), Counting(**embedder), models)


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


def test_what_the_embedder_says_of_a_text_is_passed_on(router: MatrixFactorizationRouter) -> None:
    scores = router.score(["ab", "abcd"], PAIR)
    assert (scores.prompt_tokens, scores.truncated) == ([2, 4], [False, True])
    assert all(isinstance(rate, float) and 0 < rate < 1 for rate in scores.strong_win_rates)
    assert scores.inference_us > 0
    assert (router.concurrency, router.max_tokens, router.inline) == (5, 77, False)


def test_a_text_that_cannot_be_embedded_has_the_embedder_s_error(folder: Path) -> None:
    error = DecisionError(Reason.PROMPT_TOO_LARGE, "Too large.")

    class Refusing(Counting):
        def embed(self, texts: Sequence[str]) -> Embeddings:
            found = super().embed(texts)
            found.vectors[1] = np.nan
            return Embeddings(found.vectors, None, found.truncated, {1: error})

    router = MatrixFactorizationRouter(open_artifact(folder, "mf"), Refusing())
    scores = router.score(["ab", "abcd"], PAIR)
    assert scores.errors == {1: error}
    assert scores.strong_win_rates[0] == load(folder).score(["ab"], PAIR).strong_win_rates[0]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=9), PAIRS)
def test_a_batch_gives_exactly_what_single_runs_give(
    router: MatrixFactorizationRouter, texts: list[str], pair: ModelPair
) -> None:
    single = [router.score([text], pair).strong_win_rates[0] for text in texts]
    assert router.score(texts, pair).strong_win_rates == single


@given(PAIRS, st.floats(-(2.0**90), 2.0**90, width=32))
def test_a_swapped_pair_has_the_other_side_s_rate(
    router: MatrixFactorizationRouter, pair: ModelPair, scale: float
) -> None:
    vectors = np.ones((1, 8), np.float32) * np.float32(scale)
    forth, back = router.win_rates(vectors, pair), router.win_rates(vectors, ModelPair(pair.weak, pair.strong))
    assert 0 <= forth[0] <= 1
    assert forth[0] + back[0] == pytest.approx(1, abs=1e-12)


def test_every_model_id_can_be_either_side(router: MatrixFactorizationRouter) -> None:
    assert router.strong_names == router.weak_names == frozenset(IDS)
    assert router.models == PAIR


def test_a_configured_name_that_is_a_model_id_is_scored_as_that_model(folder: Path) -> None:
    configured = load(folder, ModelPair("tiny", "middle"))
    assert configured.models == ModelPair("tiny", "middle")
    rates = configured.score(["abc"], configured.models).strong_win_rates
    assert rates == load(folder).score(["abc"], ModelPair("tiny", "middle")).strong_win_rates


def test_a_configured_name_that_is_no_model_id_stands_for_the_artifact_s_own(folder: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        renamed = load(folder, ModelPair("openai/big", "small"))
    assert renamed.score(["abc"], renamed.models).strong_win_rates == load(folder).score(["abc"], PAIR).strong_win_rates
    assert renamed.strong_names == {*IDS, "openai/big"}
    assert renamed.weak_names == frozenset(IDS)
    assert [(entry["event"], entry["name"], entry["model_id"]) for entry in logs] == [
        ("model_name_stands_for", "openai/big", "big")
    ]


def test_the_calibration_table_is_the_own_pair_s(tmp_path: Path) -> None:
    np.save(tmp_path / "sample.npy", np.random.default_rng(3).standard_normal((50, 8)).astype(np.float32))
    folder = export_tiny(tmp_path / "artifact", embeddings=tmp_path / "sample.npy")
    assert load(folder).calibration is not None
    assert load(folder, ModelPair("renamed", "small")).calibration is not None
    assert load(folder, ModelPair("tiny", "small")).calibration is None


def test_names_of_the_same_models_score_alike(folder: Path) -> None:
    renamed = load(folder, ModelPair("renamed", "small"))
    assert renamed.scores_alike(PAIR, renamed.models)
    assert not renamed.scores_alike(ModelPair("tiny", "small"), renamed.models)
    assert not renamed.scores_alike(ModelPair("unknown", "small"), renamed.models)


def test_vectors_of_another_length_are_the_embedder_s_fault(folder: Path) -> None:
    misfit = load(folder, dimension=9, claims=None)
    with pytest.raises(DecisionError) as caught:
        misfit.score(["abc"], PAIR)
    assert caught.value.reason is Reason.EMBEDDER_UNAVAILABLE
    assert "9" in caught.value.message
    assert "8" in caught.value.message
    assert caught.value.retry_seconds


def test_another_embedding_model_than_it_was_trained_with_is_warned_of(folder: Path) -> None:
    for model, warned in ((None, False), ("e", False), ("another", True)):
        with structlog.testing.capture_logs() as logs:
            load(folder, model=model)
        assert [entry["event"] for entry in logs] == ["embedding_model_differs"] * warned


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "lacks the key 'model_ids'"),
        ({"model_ids": "big"}, "model_ids"),
        ({"model_ids": ["big", "big"]}, "model_ids must be different"),
        ({"model_ids": []}, "model_ids must be different"),
        ({"model_ids": ["big", 7, "c", "d"]}, "model_ids[1]"),
        ({"model_ids": ["a", "b", "c", "d"]}, "'big', which is not in its model_ids"),
        ({"model_ids": [*IDS, "one more"]}, "cannot be run"),
        ({"dimension": "8"}, "dimension"),
        ({"dimension": 0}, "dimension must be from 1 to 65,536"),
        ({"dimension": 10**18}, "dimension must be from 1 to 65,536"),
        ({"dimension": 7}, "not float32 of shape (8, 7)"),
        ({"embedding_model": None}, "embedding_model"),
        ({"novel": 1}, "novel"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    known = read_manifest(folder).options
    broken = rewrite(folder, tmp_path / "broken", options={**known, **options} if options else {})
    with pytest.raises(ArtifactError) as caught:
        load(broken)
    assert says in str(caught.value)


def edit(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


def scale_table(folder: Path) -> None:
    model = onnx.load(str(folder / "model.onnx"))
    (table,) = (each for each in model.graph.initializer if each.name == "directions")
    values = onnx.numpy_helper.to_array(table) * np.float32(1.1)
    table.CopyFrom(onnx.numpy_helper.from_array(values, "directions"))
    onnx.save(model, str(folder / "model.onnx"))


def change_outputs(folder: Path, new: str) -> None:
    """Give another `direction` than the win rate is computed with, or call it something else."""
    model = onnx.load(str(folder / "model.onnx"))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["renamed" if name == "direction" else name for name in names]
    if new == "direction":
        model.graph.node.append(onnx.helper.make_node("Neg", ["renamed"], ["direction"]))
    else:
        (output,) = (each for each in model.graph.output if each.name == "direction")
        output.name = "renamed"
    onnx.save(model, str(folder / "model.onnx"))


def save(array: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "self_test_embeddings.npy", array)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edit("model.onnx", b"nonsense"), "cannot be loaded"),
        (scale_table, "fails its self-test"),
        (lambda folder: change_outputs(folder, "direction"), "fails its self-test"),
        (lambda folder: change_outputs(folder, "renamed"), "an mf graph has"),
        (edit("self_test_embeddings.npy", b"nonsense"), "is not a NumPy array file"),
        (edit("self_test_embeddings.npy", b""), "is not a NumPy array file"),
        (save(np.zeros((8, 8), np.float64)), "holds float64"),
        (save(np.zeros((7, 8), np.float32)), "of shape (7, 8)"),
        (save(np.full((8, 8), np.nan, np.float32)), "fails its self-test"),
        (save(np.array([[None] * 8] * 8)), "is not a NumPy array file"),
    ],
)
def test_files_that_do_not_work_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    with pytest.raises(ArtifactError) as caught:
        load(rewrite(folder, tmp_path / "broken", change))
    assert says in str(caught.value)


def test_an_artifact_without_a_self_test_is_refused(folder: Path, tmp_path: Path) -> None:
    empty = rewrite(folder, tmp_path / "broken", save(np.zeros((0, 8), np.float32)), self_test=SelfTest(1e-4, ()))
    with pytest.raises(ArtifactError, match="at least one row"):
        load(empty)


def build(folder: Path, options: str, embedder: Embedder | None = None) -> MatrixFactorizationRouter:
    config = parse_config(f"routers:\n  mf: {options}", "test", folder.parent)
    section = config.routers["mf"].section

    def find(name: str) -> Embedder:
        if name != "e":
            raise section.error(f"no embedder is named {name!r}", "embedder")
        return embedder or Counting()

    return MatrixFactorizationRouter.build(RouterContext("mf", section, None, find))


def test_it_is_built_from_a_configuration(folder: Path) -> None:
    assert build(folder, "{type: mf, artifact: artifact, embedder: e}").models == PAIR


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{type: mf, embedder: e}", "lacks the key 'artifact'"),
        ("{type: mf, artifact: artifact}", "embedder: is needed, because the artifact has no encoder in it"),
        ("{type: mf, artifact: artifact, embedder: other}", "no embedder is named 'other'"),
        ("{type: mf, artifact: artifact, embedder: e, checkpoint_path: x}", "checkpoint_path"),
    ],
)
def test_a_wrong_configuration_is_told(folder: Path, options: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(folder, options)
    assert says in str(caught.value)
    assert "test:2" in str(caught.value)


def test_an_embedder_of_another_dimension_does_not_start(folder: Path) -> None:
    with pytest.raises(ConfigError, match="length 9, but the artifact needs 8"):
        build(folder, "{type: mf, artifact: artifact, embedder: e}", Counting(claims=9))


def test_a_manifest_holds_no_prompt(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [v["prompt"] for v in manifest["self_test"]["vectors"]] == [
        f"row {i} of self_test_embeddings.npy" for i in range(8)
    ]
