"""The threshold for a wanted share, what it gives, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.intervals import chi_square_95, wilson
from routing_service.calibration.points import point_from_scores, point_from_table

Make = Callable[..., ScoreDistribution]
SHARES = st.floats(0, 1)
SCORES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=30)


def share_at(scores: list[float], threshold: float) -> float:
    return float(np.mean(np.asarray(scores) >= threshold))


def best_share(scores: list[float], share: float) -> float:
    """By brute force: the share nearest to `share` that any threshold in 0..1 gives."""
    values = sorted({*scores})
    candidates = [0.0, 1.0, *values, *(float(np.nextafter(v, 2)) for v in values if v < 1)]
    return min((share_at(scores, t) for t in candidates), key=lambda got: abs(got - share))


# --- the threshold ------------------------------------------------------------------------------------------


@given(SCORES, SHARES)
@example([0.0, 5e-324], 0.5)
@example([1.0, 1.0, float(np.nextafter(1, 0))], 0.7)
def test_the_realized_share_is_as_close_as_any_threshold_gets(
    distribution: Make, scores: list[float], share: float
) -> None:
    point = point_from_scores(distribution(scores), share)
    assert abs(point.realized_share - share) <= abs(best_share(scores, share) - share) + 2e-9
    assert 0.0 <= point.threshold <= 1.0
    assert share_at(scores, point.threshold) == pytest.approx(point.realized_share, abs=1e-12)


@given(SCORES, SHARES, SHARES)
def test_a_larger_share_of_the_same_sample_never_has_a_higher_threshold(
    distribution: Make, scores: list[float], one: float, other: float
) -> None:
    small, large = sorted((one, other))
    held = distribution(scores)
    assert point_from_scores(held, large).threshold <= point_from_scores(held, small).threshold


@given(SCORES, SHARES, st.integers(2, 12))
def test_on_a_grid_the_realized_share_is_exact_and_misses_by_at_most_one_cell(
    distribution: Make, scores: list[float], share: float, cap: int
) -> None:
    held = distribution(scores, cap)
    point = point_from_scores(held, share)
    assert share_at(scores, point.threshold) == pytest.approx(point.realized_share, abs=1e-12)
    _, counts = held.counts()
    # Half the heaviest cell; a whole one where the wanted share is below that of scores of 1.
    assert abs(point.realized_share - share) <= counts.max() / len(scores) + 2e-9


@pytest.mark.parametrize(
    ("scores", "share", "threshold", "realized", "tied"),
    [
        ([0.1, 0.2, 0.3, 0.4], 0.5, 0.25, 0.5, 0.0),
        ([0.1, 0.2, 0.3, 0.4], 0.0, 1.0, 0.0, 0.0),
        ([0.1, 0.2, 0.3, 0.4], 1.0, 0.0, 1.0, 0.0),
        ([0.1, 0.2, 0.3, 0.4], 0.3, 0.35, 0.25, 0.25),
        ([0.5] * 9, 0.7, 0.0, 1.0, 1.0),  # all or nothing; all is nearer
        ([0.5] * 9, 0.3, 1.0, 0.0, 1.0),
        ([0.5] * 9, 0.5, 1.0, 0.0, 1.0),  # equally near: the cheaper
        ([1.0, 1.0, 0.2, 0.2], 0.0, 1.0, 0.5, 0.5),  # no threshold keeps a score of 1 from the strong model
        ([0.7], 1.0, 0.0, 1.0, 0.0),
        ([0.2, 0.6, 0.6, 0.6, 0.6, 0.9], 0.5, 0.75, 1 / 6, 4 / 6),
    ],
)
def test_examples(
    distribution: Make, scores: list[float], share: float, threshold: float, realized: float, tied: float
) -> None:
    point = point_from_scores(distribution(scores), share)
    assert (point.threshold, point.realized_share, point.tied_share) == pytest.approx((threshold, realized, tied))


def test_duplicate_prompts_weigh_as_often_as_they_come(distribution: Make) -> None:
    once = point_from_scores(distribution([0.1, 0.2, 0.3, 0.4]), 0.5)
    thrice = point_from_scores(distribution([0.1, 0.2, 0.3, 0.4] * 3), 0.5)
    assert thrice.threshold == once.threshold
    mostly = point_from_scores(distribution([0.1, 0.2, 0.3, *[0.4] * 7]), 0.7)
    assert (mostly.threshold, mostly.realized_share) == pytest.approx((0.35, 0.7))


def test_a_threshold_lies_half_way_so_that_rounding_it_changes_nothing(distribution: Make) -> None:
    scores = (np.arange(1, 1000) / 1000).tolist()
    point = point_from_scores(distribution(scores), 0.3)
    assert share_at(scores, round(point.threshold, 5)) == point.realized_share == pytest.approx(0.3, abs=1e-3)


def test_a_million_scores_miss_by_less_than_a_ten_thousandth() -> None:
    scores = np.random.default_rng(0).random(1_000_000)
    held = ScoreDistribution()
    held.add(scores)
    point = point_from_scores(held, 0.2)
    assert held.resolution > 0
    assert point.realized_share == np.mean(scores >= point.threshold) == pytest.approx(0.2, abs=1e-4)


def test_no_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="no scores"):
        point_from_scores(ScoreDistribution(), 0.5)


# --- the intervals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "size", "low", "high"),
    [  # R: prop.test(x, n, correct = FALSE)
        (0.5, 10, 0.2365931, 0.7634069),
        (0.0, 20, 0.0, 0.1611252),
        (1.0, 20, 0.8388748, 1.0),
        (0.2, 1000, 0.1763899, 0.2259210),
    ],
)
def test_wilson_s_interval(share: float, size: int, low: float, high: float) -> None:
    assert wilson(share, size) == pytest.approx((low, high), abs=2e-5)


def test_an_interval_needs_an_observation() -> None:
    with pytest.raises(ValueError, match="at least one"):
        wilson(0.5, 0)


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 3.841), (2, 5.991), (9, 16.919), (30, 43.773)])
def test_the_chi_square_quantile(degrees: int, quantile: float) -> None:
    assert chi_square_95(degrees) == pytest.approx(quantile, rel=0.03 if degrees == 1 else 0.01)


@given(SCORES, SHARES)
def test_intervals_hold_what_they_are_about(distribution: Make, scores: list[float], share: float) -> None:
    point = point_from_scores(distribution(scores), share)
    assert point.share_interval is not None
    assert point.threshold_interval is not None
    assert 0 <= point.share_interval.low <= point.realized_share <= point.share_interval.high <= 1
    assert 0 <= point.threshold_interval.low <= point.threshold <= point.threshold_interval.high <= 1


def test_intervals_cover_the_truth_as_often_as_they_say(distribution: Make) -> None:
    """On uniform scores the true share of threshold t is 1 - t, and the true threshold of share s is 1 - s."""
    rng = np.random.default_rng(1)
    covered = np.zeros(2)
    for _ in range(400):
        point = point_from_scores(distribution(rng.random(200).tolist()), 0.3)
        assert point.share_interval is not None
        assert point.threshold_interval is not None
        covered += (
            point.share_interval.low <= 1 - point.threshold <= point.share_interval.high,
            point.threshold_interval.low <= 0.7 <= point.threshold_interval.high,
        )
    assert (covered / 400 > 0.92).all()


def test_more_prompts_make_narrower_intervals(distribution: Make) -> None:
    widths = []
    for size in (100, 10_000):
        point = point_from_scores(distribution((np.arange(size) / size).tolist()), 0.5)
        assert point.share_interval is not None
        assert point.threshold_interval is not None
        widths.append((point.share_interval.high - point.share_interval.low, np.diff(point.threshold_interval)[0]))
    assert np.asarray(widths[0]) / widths[1] == pytest.approx([10, 10], rel=0.1)


# --- from a table -------------------------------------------------------------------------------------------


def test_a_table_knows_how_sure_it_is() -> None:
    point = point_from_table(CalibrationTable("a test", 100, (0.0, 1.0)), 0.2)
    assert (point.threshold, point.realized_share) == pytest.approx((0.8, 0.2))
    assert point.share_interval == pytest.approx(wilson(0.2, 100))
    low, high = wilson(0.2, 100)
    assert point.threshold_interval == pytest.approx((1 - high, 1 - low))
    assert point.tied_share is None


def test_a_table_that_was_not_counted_has_no_interval() -> None:
    point = point_from_table(CalibrationTable("by construction", 0, (0.0, 1.0)), 0.2)
    assert point.share_interval is point.threshold_interval is None


def test_a_table_with_a_shared_score_says_what_it_realizes() -> None:
    table = CalibrationTable("a test", 100, (0.5, 0.5, 0.5, 0.5, 0.9))
    assert point_from_table(table, 0.8).realized_share == 1.0
    assert point_from_table(table, 0.3).realized_share == pytest.approx(0.25, abs=1e-4)
