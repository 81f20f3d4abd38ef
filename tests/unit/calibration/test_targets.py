"""Thresholds that keep a quality or a budget."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.calibration.labelled import LabelledData
from routing_service.calibration.targets import Tradeoff
from routing_service.errors import UsageError

# (score, strong, weak): few distinct values, so that ties are common.
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30
)


def data(strong: Any = (), weak: Any = (), strong_cost: Any = (), weak_cost: Any = ()) -> LabelledData:
    return LabelledData(array("d", strong), array("d", weak), array("d", strong_cost), array("d", weak_cost))


def thresholds(scores: list[float]) -> list[float]:
    """Every threshold that makes a difference."""
    return sorted({0.0, 1.0, *scores, *(float(np.nextafter(score, 2)) for score in scores if score < 1)})


def quality(rows: list[tuple[float, int, int]], threshold: float) -> float:
    return sum(strong if score >= threshold else weak for score, strong, weak in rows) / len(rows)


def test_the_least_share_that_keeps_the_quality() -> None:
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    strong, weak = [1.0] * 10, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    point = Tradeoff(scores, data(strong, weak)).for_quality(0.8)
    assert point.threshold == pytest.approx(0.65)
    assert point.strong_share.value == pytest.approx(0.3)
    assert point.call_saving.value == pytest.approx(0.7)
    assert point.quality is not None
    assert point.quality.value == pytest.approx(0.8)
    assert (point.strong_quality, point.weak_quality) == (1.0, 0.5)
    assert point.cost is point.cost_saving is None
    assert 0.3 < point.met < 0.9


@given(ROWS, st.floats(0.01, 1.2))
def test_no_smaller_share_keeps_it(rows: list[tuple[float, int, int]], target: float) -> None:
    scores = [row[0] for row in rows]
    mean = sum(row[1] for row in rows) / len(rows)
    tradeoff = Tradeoff(scores, data([row[1] for row in rows], [row[2] for row in rows]))
    reachable = [t for t in thresholds(scores) if mean and quality(rows, t) / mean >= target - 1e-12]
    if not reachable:
        with pytest.raises(UsageError, match=r"no threshold reaches|is no target"):
            tradeoff.for_quality(target)
        return
    point = tradeoff.for_quality(target)
    assert quality(rows, point.threshold) / mean >= target - 2e-9
    share = np.mean(np.asarray(scores) >= point.threshold)
    assert share == pytest.approx(min(np.mean(np.asarray(scores) >= t) for t in reachable), abs=1e-9)
    assert point.strong_share.value == pytest.approx(share)


@given(ROWS, st.floats(0, 5))
def test_no_larger_share_keeps_the_budget(rows: list[tuple[float, int, int]], budget: float) -> None:
    scores = [row[0] for row in rows]
    tradeoff = Tradeoff(scores, data((), (), [row[1] for row in rows], [row[2] for row in rows]))
    affordable = [t for t in thresholds(scores) if quality(rows, t) <= budget * (1 + 1e-12)]
    if not affordable:
        with pytest.raises(UsageError, match="the least is"):
            tradeoff.for_budget(budget)
        return
    point = tradeoff.for_budget(budget)
    assert quality(rows, point.threshold) <= budget * (1 + 2e-9)
    share = np.mean(np.asarray(scores) >= point.threshold)
    assert share == pytest.approx(max(np.mean(np.asarray(scores) >= t) for t in affordable), abs=1e-9)
    assert point.quality is None


def test_an_unreachable_quality_names_the_best() -> None:
    with pytest.raises(UsageError) as caught:
        Tradeoff([0.9, 0.1], data([1, 1], [0, 1])).for_quality(1.5)
    assert "no threshold reaches 1.5" in str(caught.value)
    assert "the best is 1.0000, with 50.0% strong calls" in str(caught.value)


def test_an_unreachable_budget_names_the_least() -> None:
    with pytest.raises(UsageError) as caught:
        Tradeoff([0.9, 0.1], data((), (), [2, 2], [1, 1])).for_budget(0.5)
    assert "the least is 1, with 0.0% strong calls" in str(caught.value)


def test_a_strong_model_that_scores_nothing_is_no_yardstick() -> None:
    with pytest.raises(UsageError, match="is no target"):
        Tradeoff([0.5], data([0.0], [1.0])).for_quality(0.9)


def test_equal_scores_are_all_or_nothing() -> None:
    point = Tradeoff([0.5] * 4, data([1, 1, 1, 1], [1, 1, 1, 0])).for_quality(0.9)
    assert (point.threshold, point.strong_share.value) == (0.0, 1.0)
    assert Tradeoff([0.5] * 4, data([1] * 4, [1] * 4)).for_quality(0.9).threshold == 1.0


def test_cost_and_saving() -> None:
    point = Tradeoff([0.9, 0.8, 0.2, 0.1], data([1] * 4, [0.5] * 4, [4.0] * 4, [1.0] * 4)).for_budget(2.5)
    assert point.cost is not None
    assert point.cost_saving is not None
    assert point.quality_ratio is not None
    assert (point.cost.value, point.cost_saving.value, point.quality_ratio.value) == (2.5, 0.375, 0.75)
    assert (point.strong_cost, point.weak_cost) == (4.0, 1.0)
    assert 1.0 <= point.cost.interval.low <= 2.5 <= point.cost.interval.high <= 4.0


@pytest.mark.parametrize(("confidence", "share"), [(0.5, 0.5), (0.95, 0.459), (0.99, 0.442)])
def test_a_budget_is_kept_as_surely_as_was_asked_for(confidence: float, share: float) -> None:
    """A request costs 4 or 1, so 2.5 lets half of them be strong; n resampled strong ones are binomial."""
    size = 400
    tradeoff = Tradeoff(np.arange(size) / size, data((), (), [4.0] * size, [1.0] * size))
    point = tradeoff.for_budget(2.5, confidence)
    assert point.strong_share.value == pytest.approx(share, abs=0.008)
    assert point.met >= confidence
    assert tradeoff.for_budget(2.5).strong_share.value == 0.5
    assert 0.45 < tradeoff.for_budget(2.5).met < 0.58
    with pytest.raises(UsageError, match=r"as little as 0.9 USD a request"):
        tradeoff.for_budget(0.9, confidence)


@pytest.mark.parametrize(("confidence", "share"), [(0.5, 0.8), (0.95, 0.833), (0.99, 0.847)])
def test_a_quality_is_kept_as_surely_as_was_asked_for(confidence: float, share: float) -> None:
    """The strong model is always right and the weak one never, so a quality of 0.8 needs that share of strong calls."""
    size = 400
    tradeoff = Tradeoff(np.arange(size) / size, data([1.0] * size, [0.0] * size))
    point = tradeoff.for_quality(0.8, confidence)
    assert point.strong_share.value == pytest.approx(share, abs=0.008)
    assert point.met >= confidence
    assert tradeoff.for_quality(0.8).strong_share.value == 0.8
    assert 0.45 < tradeoff.for_quality(0.8).met < 0.58


def test_a_confidence_that_nothing_gives_names_the_best() -> None:
    """Of two prompts, one at 1 USD and one at 3, three of four resamples cost 2 or less."""
    tradeoff = Tradeoff([0.9, 0.1], data((), (), [4.0, 4.0], [1.0, 3.0]))
    with pytest.raises(UsageError, match=r"as little as 2 USD a request so surely; the best does on 7\d"):
        tradeoff.for_budget(2.0, 0.9)


def test_intervals_are_those_of_the_bootstrap_and_repeat() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    labels = data((rng.random(400) < 0.8).astype(float), (rng.random(400) < 0.5).astype(float))
    one, same = (Tradeoff(scores, labels, seed).for_quality(0.8) for seed in (1, 1))
    assert one == same
    low, high = one.strong_share.interval
    spread = 1.96 * np.sqrt(one.strong_share.value * (1 - one.strong_share.value) / 400)
    assert (high - low) / 2 == pytest.approx(spread, rel=0.15)
    assert one != Tradeoff(scores, labels, 2).for_quality(0.8)


def test_no_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="no scores"):
        Tradeoff([], data())
