"""Pairs, halves and hashes of a benchmark, and what is wrong with one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from routing_lab.data.halves import in_dev_half
from routing_lab.evals.benchmarks import BenchmarkData, for_pair, take_split

from routing_service.errors import UsageError
from routing_service.models import ModelPair

PROMPTS = tuple(f"prompt {i}" for i in range(20))


def benchmark(**changes: Any) -> BenchmarkData:
    rng = np.random.default_rng(0)
    scores = {"org/Big-1": rng.random(20), "small": rng.random(20)}
    return replace(BenchmarkData("b", "B", "score", PROMPTS, scores), **changes)


def test_a_model_is_found_without_organisation_and_case() -> None:
    data = benchmark()
    pair = for_pair(data, "big-1", "vendor/SMALL")
    assert pair.models == ModelPair("org/Big-1", "small")
    assert pair.strong is data.scores["org/Big-1"]


@pytest.mark.parametrize(
    ("strong", "weak", "says"),
    [
        ("big-2", "small", r"no scores of the strong model 'big-2'.*'org/Big-1', 'small'.*--strong-model"),
        ("big-1", "smal", r"weak model 'smal'. Did you mean 'small'\?.*--weak-model"),
        ("big-1", "Org2/BIG-1", "are both 'org/Big-1'"),
    ],
)
def test_a_missing_model_is_told_with_those_there_are(strong: str, weak: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        for_pair(benchmark(), strong, weak)


def test_a_name_that_may_be_two_models_is_refused() -> None:
    data = benchmark(scores={"a/big": np.zeros(20), "b/big": np.ones(20), "small": np.zeros(20)})
    with pytest.raises(UsageError, match="may be any of 'a/big', 'b/big'"):
        for_pair(data, "big", "small")
    assert for_pair(data, "b/big", "small").strong.all()


def test_nothing_to_gain_is_refused() -> None:
    same = np.linspace(0, 1, 20)
    for scores in ({"big": same, "small": same.copy()}, {"big": np.ones(20), "small": np.ones(20)}):
        with pytest.raises(UsageError, match="have the same score on every prompt"):
            for_pair(benchmark(scores=scores), "big", "small")


def test_a_missing_score_is_an_error_unless_the_benchmark_is_sparse() -> None:
    holes = np.arange(20, dtype=float)
    holes[[3, 7]] = np.nan
    scores = {"big": holes, "small": np.zeros(20)}
    data = benchmark(scores=scores, missing={"big": "f.csv:5 is neither"})
    with pytest.raises(UsageError, match=r"2 of 20 prompts lack a score of 'big'; the first: f\.csv:5"):
        for_pair(data, "big", "small")
    pair = for_pair(replace(data, sparse=True), "big", "small")
    assert pair.unscored == 2
    assert len(pair.data.prompts) == len(pair.strong) == 18
    assert "prompt 3" not in pair.data.prompts
    nothing = replace(data, sparse=True, scores={"big": np.full(20, np.nan), "small": np.zeros(20)})
    with pytest.raises(UsageError, match="no prompt has a score of both"):
        for_pair(nothing, "big", "small")


def test_halves_are_those_of_the_data_readme() -> None:
    data = benchmark(halves=True)
    dev, audit = take_split(data, "dev"), take_split(data, "audit")
    assert dev.prompts == tuple(p for p in PROMPTS if in_dev_half(p))
    assert sorted(dev.prompts + audit.prompts) == sorted(PROMPTS)
    for half in (dev, audit):
        rows = [PROMPTS.index(prompt) for prompt in half.prompts]
        np.testing.assert_array_equal(half.scores["small"], data.scores["small"][rows])
    assert take_split(data, "all") is data


def test_what_is_held_out_is_its_own_audit_half_and_has_no_dev_half() -> None:
    data = benchmark(held_out=True)
    assert take_split(data, "audit").prompts == PROMPTS
    for split in ("dev", "audit"):
        with pytest.raises(UsageError, match=f"has no {split} half"):
            take_split(benchmark(held_out=split == "dev"), split)
    lonely = benchmark(prompts=("prompt 0",), scores={"a": np.zeros(1)}, halves=True)
    with pytest.raises(UsageError, match="no prompt is in the"):
        take_split(lonely, "audit" if in_dev_half("prompt 0") else "dev")


def test_prompts_that_come_again_are_one_to_score() -> None:
    data = benchmark(prompts=("a", "b", "a"), scores={"m": np.zeros(3)})
    assert data.distinct_prompts == ("a", "b")


def test_a_hash_is_of_the_prompts_and_of_nothing_else() -> None:
    data = benchmark()
    assert data.content_hash == benchmark(name="c", scores={"small": np.ones(20)}).content_hash
    others = [PROMPTS[:-1], PROMPTS[::-1], (*PROMPTS[:-1], "prompt 1x"), ("prompt 0prompt 1", *PROMPTS[2:])]
    hashes = [benchmark(prompts=p, scores={"m": np.zeros(len(p))}).content_hash for p in others]
    assert len({data.content_hash, *hashes}) == 1 + len(others)


def test_a_package_that_loads_nonsense_is_told() -> None:
    with pytest.raises(ValueError, match="has no prompts"):
        benchmark(prompts=(), scores={})
    with pytest.raises(ValueError, match=r"'m' has scores of shape \(3,\) for 20 prompts"):
        benchmark(scores={"m": np.zeros(3)})
