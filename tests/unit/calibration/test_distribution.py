"""Scores in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.calibration.distribution import MAX_DISTINCT, ScoreDistribution

Make = Callable[..., ScoreDistribution]
SCORES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=60)
CAPS = st.integers(2, 40)


def content(held: ScoreDistribution) -> tuple[list[float], list[int], float]:
    values, counts = held.counts()
    return values.tolist(), counts.tolist(), held.resolution


def exact_share(scores: list[float], threshold: float) -> float:
    return float(np.mean(np.asarray(scores) >= threshold))


@given(SCORES)
def test_few_scores_are_exact(distribution: Make, scores: list[float]) -> None:
    values, counts = np.unique(scores, return_counts=True)
    assert content(distribution(scores)) == (values.tolist(), counts.tolist(), 0.0)


@given(SCORES, CAPS)
def test_the_bound_holds_and_nothing_is_lost(distribution: Make, scores: list[float], cap: int) -> None:
    held = distribution(scores, cap)
    values, counts = held.counts()
    assert len(values) <= cap
    assert counts.sum() == held.size == len(scores)
    assert (np.diff(values) > 0).all()


@given(SCORES, CAPS)
def test_shares_at_multiples_of_the_resolution_are_exact(distribution: Make, scores: list[float], cap: int) -> None:
    held = distribution(scores, cap)
    values, _ = held.counts()
    for threshold in [*values.tolist(), *(min(1.0, v + held.resolution) for v in values.tolist()), 0.0, 1.0]:
        assert held.share_at(threshold) == exact_share(scores, threshold)


@given(SCORES, CAPS)
def test_the_resolution_is_the_finest_that_keeps_the_bound(distribution: Make, scores: list[float], cap: int) -> None:
    held = distribution(scores, cap)
    if held.resolution:
        finer = held.resolution / 2
        rounded = {np.floor(score / finer) * finer for score in scores}
        assert len(rounded) > cap or finer < 2.0**-40


@given(st.lists(SCORES, min_size=1, max_size=4), CAPS, st.randoms(use_true_random=False))
def test_the_order_of_scores_and_of_merging_does_not_matter(
    distribution: Make, parts: list[list[float]], cap: int, random: Random
) -> None:
    flat = [score for part in parts for score in part]
    at_once = content(distribution(flat, cap))
    one_by_one = ScoreDistribution(cap)
    shuffled = list(flat)
    random.shuffle(shuffled)
    for score in shuffled:
        one_by_one.add(score)
        one_by_one.counts()  # merges each at once
    assert content(one_by_one) == at_once
    for order in (parts, parts[::-1]):
        merged = ScoreDistribution(cap)
        for part in order:
            merged.merge(distribution(part, cap))
        assert content(merged) == at_once


@given(SCORES, st.integers(2, 30))
def test_quantiles_are_those_of_numpy(distribution: Make, scores: list[float], count: int) -> None:
    got = distribution(scores).quantiles(count)
    assert got == pytest.approx(np.quantile(scores, np.linspace(0, 1, count)).tolist(), abs=1e-12)
    assert got == sorted(got)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e-9, 1.0000001])
def test_what_is_no_probability_is_refused_with_its_batch(bad: float) -> None:
    held = ScoreDistribution()
    held.add([0.5])
    with pytest.raises(ValueError, match="from 0 to 1"):
        held.add([0.1, bad])
    assert held.size == 1
    with pytest.raises(ValueError, match="at least 2"):
        ScoreDistribution(1)


def test_no_scores_have_no_quantiles() -> None:
    with pytest.raises(ValueError, match="need a score"):
        ScoreDistribution().quantiles(3)
    assert ScoreDistribution().size == 0
    ScoreDistribution().add([])


def test_two_million_scores_take_no_more_memory_than_a_hundred_thousand() -> None:
    rng = np.random.default_rng(0)
    held = ScoreDistribution()
    tracemalloc.start()
    try:
        peaks = []
        for millions in (0.1, 2):
            tracemalloc.reset_peak()
            for _ in range(int(millions * 1e6) // 10_000):
                held.add(rng.random(10_000))
            held.counts()
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert held.size == 2_100_000
    assert len(held.counts()[0]) <= MAX_DISTINCT
    assert held.resolution == 2.0**-16
    assert peaks[1] < 1.5 * peaks[0] < 30e6
