"""Baselines: like prompts are taken to end alike, and what they were fitted on is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from routing_lab.evals.baselines import BASELINES, Baseline, Clusters, Float32, Neighbours, fit_baseline, unit
from routing_lab.evals.benchmarks import take_split
from routing_lab.evals.evaluation import evaluate
from routing_lab.evals.provenance import Exposure
from routing_lab.evals.registry import load_benchmark
from routing_lab.evals.routers import with_unconfigured
from routing_lab.evals.settings import Settings
from routing_lab.training.static.vectors import shipped_vectors

from routing_service.config import parse_config
from routing_service.errors import UsageError
from routing_service.models import ROUTELLM_PAIR
from tests.support.benchmarks import STRONG, WEAK, write_csv
from tests.support.progress import no_progress

pytest.importorskip("sklearn")
pytest.importorskip("onnx")

DIMENSION = 8


def embed(texts: Sequence[str]) -> Float32:
    """A direction for each first letter, and a little of each other letter."""
    vectors = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in enumerate(texts):
        vectors[row, ord(text[0]) % DIMENSION] = 1
        vectors[row, len(text) % DIMENSION] += 0.1
    return unit(vectors)


# By the first letter: a always wins, b never does, c half of the time.
PROMPTS = [letter * (1 + i % 7) + str(i) for i in range(120) for letter in "abc"]
TARGETS = np.array([{"a": 1.0, "b": 0.0, "c": float(i % 2)}[prompt[0]] for i, prompt in enumerate(PROMPTS)])


@pytest.mark.parametrize("kind", BASELINES.values())
def test_like_prompts_end_alike(kind: type[Baseline]) -> None:
    router = kind(ROUTELLM_PAIR, embed, embed(PROMPTS), TARGETS, {})
    rates = router.score(["a new one", "b new one", "c new one"], ROUTELLM_PAIR).strong_win_rates
    assert rates[0] > 0.9
    assert rates[1] < 0.1
    assert 0.3 < rates[2] < 0.7
    assert router.score(["b new one"], ROUTELLM_PAIR).strong_win_rates[0] == pytest.approx(rates[1])


def test_neighbours_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(60, DIMENSION)).astype(np.float32))
    targets = rng.random(60)
    router = Neighbours(ROUTELLM_PAIR, embed, vectors, targets, {})
    asked = unit(rng.normal(size=(5, DIMENSION)).astype(np.float32))
    expected = [targets[np.argsort(-(vectors @ one))[: router.neighbours]].mean() for one in asked]
    np.testing.assert_allclose(router.means(asked), expected)


def test_the_number_of_neighbours_leaves_a_prompt_s_own_outcome_out() -> None:
    # Outcomes are noise: the more neighbours the better, unless each prompt's own outcome were among them.
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(400, DIMENSION)).astype(np.float32))
    router = Neighbours(ROUTELLM_PAIR, embed, vectors, rng.integers(0, 2, 400).astype(float), {})
    assert router.neighbours == 300
    # And where neighbours say it all, few are enough.
    few = Neighbours(ROUTELLM_PAIR, embed, vectors, (vectors[:, 0] > 0).astype(float), {})
    assert few.neighbours < 100


def test_clusters_are_drawn_to_the_mean() -> None:
    vectors = embed(PROMPTS)
    clusters = Clusters(ROUTELLM_PAIR, embed, vectors, np.ones(len(PROMPTS)), {})
    assert clusters.means(vectors) == pytest.approx(np.ones(len(PROMPTS)))
    assert clusters.clusters == 16  # of 64 or more, some would be empty
    assert Clusters(ROUTELLM_PAIR, embed, vectors[:2], np.ones(2), {}).clusters == 2


def test_the_revision_is_that_of_what_was_learnt() -> None:
    vectors = embed(PROMPTS)
    one, same = (Neighbours(ROUTELLM_PAIR, embed, vectors, TARGETS, {}) for _ in range(2))
    other = Neighbours(ROUTELLM_PAIR, embed, vectors, 1 - TARGETS, {})
    assert one.revision == same.revision != other.revision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """GSM8K with 600 word problems, of which half is the dev half."""
    rows = [f"Problem {i}: {'add' if i % 2 else 'prove'} {i},{i % 2 > 0},True" for i in range(600)]
    write_csv(tmp_path / "gsm8k/gsm8k_responses.csv", rows)
    (tmp_path / "gsm8k/contaminated_prompts.jsonl").write_text("")
    return tmp_path


def test_an_evaluation_fits_them_on_the_dev_half(folder: Path) -> None:
    config = with_unconfigured(parse_config("", "a test", folder), ["knn", "clusters"], 0)
    settings = Settings(
        strong_model=STRONG, weak_model=WEAK, resamples=20, progress=no_progress, data=folder, vectors=shipped_vectors
    )
    audit = take_split(load_benchmark("gsm8k", folder), "audit")
    (result,) = evaluate(config, ["knn", "clusters"], [audit], settings)
    assert [router.type for router in result.routers] == ["knn", "clusters"]
    assert {router.sample.exposure for router in result.routers} == {Exposure.OUT_OF_SAMPLE}
    assert all(router.exact.apgr > 0.6 for router in result.routers)
    half, whole = evaluate(config, ["knn"], [load_benchmark("gsm8k", folder)], settings)
    assert half.routers[0].sample.exposure is Exposure.OUT_OF_SAMPLE
    assert whole.routers[0].sample.exposure is Exposure.IN_SAMPLE


def test_without_a_folder_there_is_nothing_to_fit_them_on() -> None:
    with pytest.raises(UsageError, match=r"--routers knn is fitted on the dev halves .* name their folder with --data"):
        fit_baseline("knn", None, lambda: embed, STRONG, WEAK)
