"""Exact curves by hand and by brute force; intervals by what must hold for any."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_lab.evals.curves import BAND_SHARES, bootstrap, first_crossing, full_curve, optimal_curve
from routing_lab.evals.metrics import apgr, call_performance_threshold

# The strong model is right on the first three, the weak one on the third only.
STRONG, WEAK = [1, 1, 1, 0], [0, 0, 1, 0]
PERFECT = [0.9, 0.8, 0.2, 0.1]

Scores = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def test_a_curve_by_hand() -> None:
    curve = full_curve(PERFECT, STRONG, WEAK)
    np.testing.assert_allclose(curve.thresholds, [math.inf, 0.9, 0.8, 0.2, 0.1])
    np.testing.assert_allclose(curve.strong_shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.qualities, [0.25, 0.5, 0.75, 0.75, 0.75])
    assert apgr(curve) == pytest.approx(0.75)
    assert call_performance_threshold(curve, 0.75) == pytest.approx(0.375)


def test_equal_scores_go_together() -> None:
    curve = full_curve([0.5, 0.5, 0.5, 0.1], STRONG, WEAK)
    np.testing.assert_allclose(curve.strong_shares, [0, 0.75, 1])
    np.testing.assert_allclose(curve.qualities, [0.25, 0.75, 0.75])


def test_the_area_is_the_mean_over_all_ways_to_break_ties() -> None:
    rates = np.array([0.7, 0.7, 0.7, 0.7, 0.2])
    strong, weak = np.array([1.0, 0, 1, 1, 0]), np.array([0.0, 1, 1, 0, 0])
    broken = []
    for order in permutations(range(4)):
        distinct = rates.copy()
        distinct[:4] += 0.01 * np.array(order)
        broken.append(apgr(full_curve(distinct, strong, weak)))
    assert apgr(full_curve(rates, strong, weak)) == pytest.approx(np.mean(broken))


def test_the_order_of_the_prompts_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rates, strong, weak = rng.integers(0, 5, 50) / 5, rng.random(50), rng.random(50)
    shuffled = rng.permutation(50)
    one, other = full_curve(rates, strong, weak), full_curve(rates[shuffled], strong[shuffled], weak[shuffled])
    np.testing.assert_allclose(one.qualities, other.qualities)


@given(Scores)
def test_no_curve_is_above_the_optimal_one_and_all_end_where_the_models_are(rows: list[tuple[int, int, int]]) -> None:
    rates, strong, weak = np.array(rows, float).T
    best, some = optimal_curve(strong, weak), full_curve(rates / 4, strong, weak)
    shares = np.linspace(0, 1, 23)
    bound = np.interp(shares, best.strong_shares, best.qualities)
    assert (np.interp(shares, some.strong_shares, some.qualities) <= bound + 1e-9).all()
    for curve in (best, some):
        assert (curve.strong_shares[0], curve.strong_shares[-1]) == (0, 1)
        np.testing.assert_allclose(curve.qualities[[0, -1]], [weak.mean(), strong.mean()])


def test_one_score_for_all_is_chance() -> None:
    assert apgr(full_curve([0.5] * 4, STRONG, WEAK)) == pytest.approx(0.5)


def sample(prompts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A router that is right more often than not."""
    rng = np.random.default_rng(seed)
    gains = rng.integers(-1, 3, prompts).clip(-1, 1).astype(float)
    weak = (gains < 0).astype(float)
    return rng.normal(gains, 2), weak + gains, weak


def test_intervals_hold_the_estimate_and_narrow_with_more_prompts() -> None:
    widths = []
    for prompts in (60, 3000):
        rates, strong, weak = sample(prompts)
        found, curve = bootstrap(rates, strong, weak, resamples=300), full_curve(rates, strong, weak)
        assert found.apgr.low < apgr(curve) < found.apgr.high
        for level, interval in found.cpt.items():
            assert interval.low <= call_performance_threshold(curve, level) <= interval.high
        assert found.gap.low < strong.mean() - weak.mean() < found.gap.high
        quality = np.interp(BAND_SHARES, curve.strong_shares, curve.qualities)
        assert (found.band_low <= quality + 1e-9).all()
        assert (found.band_high >= quality - 1e-9).all()
        # All or nothing to the strong model is what chance does too.
        np.testing.assert_allclose(found.band_low[[0, -1]], quality[[0, -1]])
        widths.append(found.apgr.high - found.apgr.low)
    assert widths[1] < widths[0] / 3


def test_resamples_are_drawn_as_if_prompts_were_copied() -> None:
    rates, strong, weak = sample(40)
    rates = np.round(rates)  # with ties
    found = bootstrap(rates, strong, weak, resamples=50, seed=3)
    rng, by_hand = np.random.default_rng(3), []
    for _ in range(50):
        rows = rng.integers(0, 40, 40)
        by_hand.append(apgr(full_curve(rates[rows], strong[rows], weak[rows])))
    np.testing.assert_allclose([found.apgr.low, found.apgr.high], np.quantile(by_hand, [0.025, 0.975]))


def test_a_95_percent_interval_holds_the_truth_about_that_often() -> None:
    truth = apgr(full_curve(*sample(200_000, seed=1)))
    intervals = [bootstrap(*sample(300, seed=seed), resamples=200, seed=seed).apgr for seed in range(2, 82)]
    assert 0.87 <= np.mean([interval.low <= truth <= interval.high for interval in intervals]) <= 1


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    data = sample(80)
    first, again, other = (bootstrap(*data, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first.apgr == again.apgr
    assert first.apgr != other.apgr


def test_runs_of_chance_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    _, strong, weak = sample(300)
    runs = rng.random((20, 300))
    one, many = bootstrap(runs[0], strong, weak, resamples=400), bootstrap(runs, strong, weak, resamples=400)
    assert many.apgr.low < 0.5 < many.apgr.high
    assert many.apgr.high - many.apgr.low > one.apgr.high - one.apgr.low


@pytest.mark.parametrize(
    ("strong", "weak"),
    [([1, 0, 1, 0], [0, 1, 0, 1]), ([1, 0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1, 0])],
    ids=["no gap", "a gap that may be none"],
)
def test_without_a_gap_nothing_is_bounded(strong: list[float], weak: list[float]) -> None:
    found = bootstrap(np.arange(len(strong)) / 9, strong, weak, resamples=100)
    assert math.isnan(found.apgr.low)
    assert all(math.isnan(interval.high) for interval in found.cpt.values())
    assert found.gap.low <= 0 <= found.gap.high


def test_a_strong_model_that_is_worse_has_a_gap_too() -> None:
    rates, strong, weak = sample(400)
    better, worse = bootstrap(rates, strong, weak, resamples=100), bootstrap(rates, -strong, -weak, resamples=100)
    assert worse.apgr == better.apgr


def test_the_first_crossing_counts() -> None:
    shares, recovered = np.array([0, 0.25, 0.5, 0.75, 1]), np.array([0, 0.6, 0.4, 0.8, 1])
    assert first_crossing(shares, recovered, 0.5) == pytest.approx(0.25 * 5 / 6)
    assert first_crossing(shares, recovered, 0) == 0
    assert math.isnan(first_crossing(shares, recovered, 1.2))


@pytest.mark.parametrize("options", [{"resamples": 0}, {"level": 0}, {"level": 1}])
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        bootstrap(PERFECT, STRONG, WEAK, **options)  # type: ignore[arg-type] # the types are right, the values are not


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        full_curve([math.nan, 1, 1, 1], STRONG, WEAK)
    with pytest.raises(ValueError, match="equally long"):
        bootstrap([1, 2], STRONG, WEAK)
