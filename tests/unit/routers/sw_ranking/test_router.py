"""The `sw_ranking` router: names, embedder, configuration, threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import structlog

pytest.importorskip("onnx", reason="the extra `export` is not installed")

from routing_service.artifacts.loading import open_artifact
from routing_service.config import parse_config
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.errors import ArtifactError, ConfigError, DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import RouterContext
from routing_service.routers.registry import ROUTERS
from routing_service.routers.sw_ranking.router import SimilarityWeightedRouter
from tests.support.sw_ranking import DIMENSION, MODELS, export_tiny

PAIR = ModelPair("big", "small")


class Hashing(Embedder):
    """A text becomes a direction that depends on its characters; one with `!` becomes NaN."""

    def __init__(self, dimension: int = DIMENSION, model: str | None = None, claims: int | None = DIMENSION) -> None:
        super().__init__(dimension=claims, max_tokens=77)
        self.concurrency, self.model, self._length = 5, model, dimension

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        raise NotImplementedError(context.name)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        vectors = np.stack([np.random.default_rng(list(text.encode())).standard_normal(self._length) for text in texts])
        vectors[["!" in text for text in texts]] = np.nan
        return Embeddings(vectors.astype(np.float32), [len(text) for text in texts], [len(text) > 3 for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny(tmp_path_factory.mktemp("sw") / "artifact", embedding_model="e")


@pytest.fixture(scope="module")
def router(folder: Path) -> SimilarityWeightedRouter:
    return load(folder)


def load(folder: Path, models: ModelPair | None = None, **embedder: Any) -> SimilarityWeightedRouter:
    return SimilarityWeightedRouter(open_artifact(folder, "sw_ranking"), Hashing(**embedder), models)


def build(folder: Path, keys: str = "", **embedder: Any) -> SimilarityWeightedRouter:
    """What a configuration with these keys asks for."""
    text = f"routers: {{sw: {{type: sw_ranking, artifact: '{folder}', embedder: e{keys}}}}}"
    section = parse_config(text, "routing.yaml", Path()).routers["sw"].section
    embedders: dict[str, Embedder] = {"e": Hashing(**embedder)}
    return SimilarityWeightedRouter.build(RouterContext("sw", section, None, embedders.__getitem__))


def test_it_is_registered() -> None:
    assert ROUTERS.shipped["sw_ranking"].endswith(":SimilarityWeightedRouter")


def test_what_the_embedder_says_of_a_text_is_passed_on(router: SimilarityWeightedRouter) -> None:
    scores = router.score(["ab", "abcd"], PAIR)
    assert (scores.prompt_tokens, scores.truncated) == ([2, 4], [False, True])
    assert all(isinstance(rate, float) and 0 < rate < 1 for rate in scores.strong_win_rates)
    assert scores.strong_win_rates[0] != scores.strong_win_rates[1]
    assert scores.inference_us > 0
    assert (router.concurrency, router.max_tokens, router.inline) == (5, 77, False)


def test_every_model_of_the_battles_can_be_either_side(router: SimilarityWeightedRouter) -> None:
    assert router.strong_names == router.weak_names == frozenset(MODELS)
    assert router.models == PAIR
    forth = router.score(["ab"], ModelPair("middle", "tiny")).strong_win_rates[0]
    back = router.score(["ab"], ModelPair("tiny", "middle")).strong_win_rates[0]
    assert forth + back == pytest.approx(1.0)


def test_a_configured_name_without_battles_stands_for_the_artifact_s_own(folder: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        renamed = load(folder, ModelPair("openai/big", "tiny"))
    assert renamed.models == ModelPair("openai/big", "tiny")
    assert renamed.strong_names == {*MODELS, "openai/big"}
    assert renamed.weak_names == frozenset(MODELS)
    rates = load(folder).score(["ab"], ModelPair("big", "tiny")).strong_win_rates
    assert renamed.score(["ab"], renamed.models).strong_win_rates == rates
    assert [entry["name"] for entry in logs if entry["event"] == "model_name_stands_for"] == ["openai/big"]


def test_two_names_may_stand_for_one_model_of_the_battles(folder: Path) -> None:
    both_small = load(folder, ModelPair("small", "a name without battles"))
    assert both_small.score(["ab"], both_small.models).strong_win_rates == [0.5]


def test_many_threads_get_what_one_gets(router: SimilarityWeightedRouter) -> None:
    texts = [f"text {number}" for number in range(24)]
    single = [router.score([text], PAIR).strong_win_rates[0] for text in texts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda text: router.score([text], PAIR).strong_win_rates[0], texts))
    assert together == single


def test_vectors_of_another_length_are_no_score(folder: Path) -> None:
    with pytest.raises(DecisionError) as caught:
        load(folder, dimension=DIMENSION + 1).score(["fine"], PAIR)
    assert caught.value.reason is Reason.EMBEDDER_UNAVAILABLE
    assert caught.value.metadata == {"cause": "wrong_dimension"}
    assert caught.value.retry_seconds is not None


def test_a_vector_that_is_not_finite_is_no_score_and_the_others_are(router: SimilarityWeightedRouter) -> None:
    scores = router.score(["fine", "not!", "as well"], PAIR)
    alone = router.score(["fine", "as well"], PAIR).strong_win_rates
    assert [scores.strong_win_rates[place] for place in (0, 2)] == alone
    assert list(scores.errors) == [1]
    assert scores.errors[1].metadata == {"cause": "not_finite"}
    assert scores.errors[1].retry_seconds is not None
    assert list(router.score(["not!"], PAIR).errors) == [0]


def test_a_text_that_cannot_be_embedded_has_the_embedder_s_error(folder: Path) -> None:
    error = DecisionError(Reason.PROMPT_TOO_LARGE, "Too large.")

    class Refusing(Hashing):
        def embed(self, texts: Sequence[str]) -> Embeddings:
            found = super().embed(texts)
            return Embeddings(found.vectors, None, found.truncated, {1: error})

    router = SimilarityWeightedRouter(open_artifact(folder, "sw_ranking"), Refusing())
    assert router.score(["fine", "not!"], PAIR).errors == {1: error}


def test_another_embedding_model_is_warned_about(folder: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        load(folder, model="other")
        load(folder, model="e")
        load(folder)
    warnings = [entry for entry in logs if entry["event"] == "embedding_model_differs"]
    assert [(entry["trained_with"], entry["embedder"]) for entry in warnings] == [("e", "other")]


def test_the_configuration_says_solver_and_session(folder: Path) -> None:
    plain, newton = build(folder), build(folder, ", solver: newton, threads: 2")
    assert newton.revision != plain.revision  # its scores differ
    assert newton.score(["ab"], PAIR).strong_win_rates != plain.score(["ab"], PAIR).strong_win_rates


@pytest.mark.parametrize(
    ("keys", "embedder", "problem"),
    [
        (", solver: bfgs", {}, r"routing\.yaml:1: routers\.sw\.solver"),
        (", artefact: x", {}, "did you mean 'artifact'"),
        ("", {"claims": 9}, "its vectors have length 9, but the artifact needs 8"),
    ],
)
def test_a_wrong_configuration_is_refused(folder: Path, keys: str, embedder: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        build(folder, keys, **embedder)


def test_an_artifact_of_another_type_is_refused() -> None:
    from routing_service.artifacts.loading import DEFAULT_ARTIFACT

    with pytest.raises(ArtifactError, match="is of type 'static', not 'sw_ranking'"):
        build(DEFAULT_ARTIFACT)
