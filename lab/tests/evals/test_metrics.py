"""The routing metrics against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from routing_lab.evals import metrics

# Four prompts. The strong model is right on the first three, the weak one on the third only.
STRONG, WEAK = [1, 1, 1, 0], [0, 0, 1, 0]
PERFECT, INVERTED = [0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9]


def test_sweep_of_a_perfect_router_by_hand() -> None:
    sweep = metrics.threshold_sweep(PERFECT, STRONG, WEAK, bins=4)
    # Quartiles of 0.1 0.2 0.8 0.9 are 0.1, 0.175, 0.5, 0.825, 0.9; the last point sends nothing to the strong model.
    np.testing.assert_allclose(sweep.thresholds, [0.9, 0.825, 0.5, 0.175, 0.1])
    np.testing.assert_allclose(sweep.strong_shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(sweep.qualities, [0.25, 0.5, 0.75, 0.75, 0.75])
    np.testing.assert_allclose(sweep.recovered, [0, 0.5, 1, 1, 1])
    assert (sweep.weak_quality, sweep.strong_quality) == (0.25, 0.75)


def test_apgr_by_hand() -> None:
    # Trapezia of PGR 0, 0.5, 1, 1, 1 over quarters: (0.25 + 0.75 + 1 + 1) / 4.
    assert metrics.apgr(metrics.threshold_sweep(PERFECT, STRONG, WEAK, bins=4)) == pytest.approx(0.75)
    assert metrics.apgr(metrics.threshold_sweep(INVERTED, STRONG, WEAK, bins=4)) == pytest.approx(0.25)


def test_call_performance_threshold_by_hand() -> None:
    sweep = metrics.threshold_sweep(PERFECT, STRONG, WEAK, bins=4)
    assert metrics.call_performance_threshold(sweep, 0.5) == pytest.approx(0.25)
    assert metrics.call_performance_threshold(sweep, 0.75) == pytest.approx(0.375)
    assert metrics.call_performance_threshold(sweep, 0) == 0
    assert math.isnan(metrics.call_performance_threshold(sweep, 1.5))


def test_quality_at_share_interpolates() -> None:
    sweep = metrics.threshold_sweep(PERFECT, STRONG, WEAK, bins=4)
    assert metrics.quality_at_share(sweep, 0.125) == pytest.approx(0.375)
    assert metrics.quality_at_share(sweep, 1) == 0.75


def test_a_random_router_recovers_half() -> None:
    rng = np.random.default_rng(0)
    strong, weak, scores = rng.random(20_000) < 0.8, rng.random(20_000) < 0.5, rng.random(20_000)
    assert metrics.apgr(metrics.threshold_sweep(scores, strong, weak)) == pytest.approx(0.5, abs=0.03)


def test_no_router_beats_the_optimal_one() -> None:
    rng = np.random.default_rng(1)
    strong, weak = (rng.random(500) < 0.8).astype(float), (rng.random(500) < 0.5).astype(float)
    best = metrics.threshold_sweep(strong - weak + 1e-6 * rng.random(500), strong, weak)
    other = metrics.threshold_sweep(rng.random(500), strong, weak)
    assert (best.qualities >= other.qualities - 1e-12).all()


def test_equal_scores_leave_the_two_extremes() -> None:
    sweep = metrics.threshold_sweep([0.5] * 4, STRONG, WEAK)
    assert set(sweep.strong_shares) == {0.0, 1.0}
    assert metrics.apgr(sweep) == pytest.approx(0.5)


def test_no_gap_is_not_a_number() -> None:
    assert math.isnan(metrics.apgr(metrics.threshold_sweep(PERFECT, STRONG, STRONG)))


@pytest.mark.parametrize(
    ("scores", "strong", "weak", "bins"),
    [
        ([], [], [], 10),
        ([0.1], [1, 1], [0], 10),
        ([math.nan], [1], [0], 10),
        ([0.1], [1], [math.inf], 10),
        ([0.1], [1], [0], 0),
    ],
)
def test_refuses_unusable_input(scores: list[float], strong: list[float], weak: list[float], bins: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        metrics.threshold_sweep(scores, strong, weak, bins)


@given(hnp.arrays(np.float64, st.integers(2, 60), elements=st.floats(0, 1)), st.integers(1, 12))
def test_apgr_depends_on_the_order_of_scores_alone(scores: np.ndarray, bins: int) -> None:
    # Without ties between quantiles and scores, a monotone map must change nothing; ranks are such a map.
    distinct = np.argsort(np.argsort(scores, kind="stable")).astype(float)
    strong, weak = np.arange(len(scores)) % 3 > 0, np.arange(len(scores)) % 5 == 0
    direct = metrics.threshold_sweep(distinct, strong, weak, bins)
    doubled = metrics.threshold_sweep(2 * distinct, strong, weak, bins)
    np.testing.assert_array_equal(direct.qualities, doubled.qualities)
    assert direct.strong_shares[0] == 0
    assert direct.strong_shares[-1] == 1


def test_reliability_and_its_error_by_hand() -> None:
    bins = metrics.reliability([0.9, 0.1, 0.7, 0.3], [1, 0, 0, 1], bins=2)
    assert [(part.count, part.mean_target) for part in bins] == [(2, 0.5), (2, 0.5)]
    assert [part.mean_score for part in bins] == pytest.approx([0.2, 0.8])
    assert metrics.calibration_error(bins) == pytest.approx(0.3)


def test_log_loss_by_hand() -> None:
    assert metrics.log_loss([0.5, 0.5], [1, 0.5]) == pytest.approx(math.log(2))
    assert metrics.log_loss([0.8], [1]) == pytest.approx(-math.log(0.8))
    # A router that is certain and wrong loses as much as at one in ten million, and not everything.
    assert metrics.log_loss([0.0], [1]) == pytest.approx(-math.log(1e-7))
    assert metrics.log_loss([1.0], [0]) == pytest.approx(-math.log(1e-7), rel=1e-6)
    assert metrics.log_loss([1.0, 0.0], [1, 0]) == pytest.approx(0, abs=2e-7)
    # Nearer scores than that are told apart down to it.
    assert metrics.log_loss([2e-7], [1]) == pytest.approx(-math.log(2e-7))
