"""Whether recent scores still match a table."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.drift import Reading, _reading, compare

Make = Callable[..., ScoreDistribution]
UNIFORM = CalibrationTable("a test", 10_000, tuple(level / 100 for level in range(101)))


def test_psi_by_hand(distribution: Make) -> None:
    """Half of the recent scores in the lowest tenth, the others evenly over the rest."""
    recent = distribution([0.05] * 500 + [tenth / 10 + 0.05 for tenth in range(1, 10) for _ in range(56)][:500])
    found = compare(CalibrationTable("a test", 0, (0.0, 1.0)), recent, [0.5])
    counts = [500] + [56] * 8 + [52]
    expected = 0.0
    for count in counts:
        after = (count + 0.5) / (1000 + 5)
        expected += (after - 0.1) * math.log(after / 0.1)
    assert found.psi == pytest.approx(expected, rel=1e-6)
    assert found.reading is Reading.MAJOR
    assert [part.recent_share for part in found.bins] == pytest.approx([count / 1000 for count in counts])
    assert [part.table_share for part in found.bins] == pytest.approx([0.1] * 10)
    assert (found.bins[0].low, found.bins[-1].high) == (0.0, 1.0)


def test_the_same_scores_have_no_drift(distribution: Make) -> None:
    found = compare(UNIFORM, distribution(np.linspace(0, 1, 5000).tolist()), [0.2, 0.8])
    assert found.psi < 0.001
    assert found.reading is Reading.STABLE
    assert [point.changed for point in found.points] == [False, False]
    assert [point.realized_share for point in found.points] == pytest.approx([0.2, 0.8], abs=1e-3)


def test_a_shift_shows_in_psi_and_in_the_shares(distribution: Make) -> None:
    rng = np.random.default_rng(0)
    found = compare(UNIFORM, distribution(np.clip(rng.random(2000) * 0.8 + 0.2, 0, 1).tolist()), [0.5])
    assert found.reading is Reading.MAJOR
    (point,) = found.points
    assert point.changed
    assert point.realized_share == pytest.approx(0.625, abs=0.03)
    assert point.share_interval.low < 0.625 < point.share_interval.high


def test_few_prompts_are_no_verdict(distribution: Make) -> None:
    found = compare(UNIFORM, distribution([0.9, 0.8, 0.1, 0.2]), [0.5])
    assert found.psi > 0.1
    assert found.reading is Reading.INCONCLUSIVE


@pytest.mark.parametrize(
    ("psi", "chance", "reading"),
    [
        (0.0, 0.0, Reading.STABLE),
        (0.0999, 0.01, Reading.STABLE),
        (0.0999, 9.0, Reading.STABLE),
        (0.1, 0.0999, Reading.MODERATE),
        (0.1, 0.1, Reading.INCONCLUSIVE),
        (0.2499, 0.1, Reading.MODERATE),
        (0.25, 0.1, Reading.MAJOR),
        (0.25, 0.25, Reading.INCONCLUSIVE),
        (5.0, 5.1, Reading.INCONCLUSIVE),
    ],
)
def test_readings_begin_at_their_bounds(psi: float, chance: float, reading: Reading) -> None:
    assert _reading(psi, chance) is reading


@pytest.mark.parametrize(("more", "changed"), [(43, False), (45, True), (-43, False), (-45, True)])
def test_a_share_has_changed_from_two_standard_errors_on(distribution: Make, more: int, changed: bool) -> None:
    """Two samples of 1,000, half of each strong: 1.96 · sqrt(0.25 · 2 / 1000) is 4.4 %."""
    table = CalibrationTable("a test", 1000, UNIFORM.quantiles)
    recent = distribution([0.75] * (500 + more) + [0.25] * (500 - more))
    (point,) = compare(table, recent, [0.5]).points
    assert point.expected_share == pytest.approx(0.5, abs=1e-3)
    assert point.realized_share == pytest.approx(0.5 + more / 1000)
    assert point.changed == changed


def test_chance_stays_below_its_bound_as_often_as_it_says(distribution: Make) -> None:
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(300):
        found = compare(UNIFORM, distribution(rng.random(500).tolist()), [])
        below += found.psi <= found.psi_critical
    assert 0.91 < below / 300 < 0.99


def test_a_share_counts_as_changed_no_oftener_than_chance_allows(distribution: Make) -> None:
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(300):
        table = CalibrationTable("a test", 300, tuple(distribution(rng.random(300).tolist()).quantiles(101)))
        (point,) = compare(table, distribution(rng.random(300).tolist()), [0.3]).points
        changed += point.changed
    assert 0.01 < changed / 300 < 0.1


def test_a_score_that_many_share_is_a_bin_of_its_own(distribution: Make) -> None:
    table = CalibrationTable("a test", 1000, tuple([0.5] * 60 + [0.5 + level / 100 for level in range(1, 42)]))
    same = distribution([0.5] * 590 + [0.5 + level / 100 for level in range(1, 42) for _ in range(10)])
    assert compare(table, same, [0.5]).reading is Reading.STABLE
    assert compare(table, distribution([0.5001] * 1000), [0.5]).reading is Reading.MAJOR
    assert compare(table, distribution([0.4999] * 1000), [0.5]).reading is Reading.MAJOR


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_a_table_of_one_score(distribution: Make, score: float) -> None:
    table = CalibrationTable("a test", 100, (score,) * 11)
    assert compare(table, distribution([score] * 500), [0.5]).reading is Reading.STABLE
    assert compare(table, distribution([abs(score - 0.4)] * 500), [0.5]).reading is Reading.MAJOR


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=40).map(sorted),
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.floats(0, 1),
)
def test_a_report_holds_together(distribution: Make, quantiles: list[float], scores: list[float], share: float) -> None:
    found = compare(CalibrationTable("a test", 100, tuple(quantiles)), distribution(scores), [share])
    assert found.psi >= 0
    assert math.isfinite(found.psi)
    assert sum(part.recent_share for part in found.bins) == pytest.approx(1)
    assert sum(part.table_share for part in found.bins) == pytest.approx(1)
    assert all(part.low <= part.high for part in found.bins)
    assert found.sample_size == len(scores)
    (point,) = found.points
    assert point.share_interval.low <= point.realized_share <= point.share_interval.high


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="no recent"):
        compare(UNIFORM, ScoreDistribution(), [0.5])
