from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing_service.calibration.thresholds import share_for_threshold, threshold_for_share

SHARES = st.floats(0, 1)
# Few distinct values, so that equal scores are common, and any value at all.
QUANTILES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=2, max_size=30).map(
    sorted
)


# --- from a table of quantiles ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "threshold"), [(0.0, 1.0), (0.25, 0.7), (0.5, 0.5), (0.625, 0.4), (0.75, 0.3), (1.0, 0.0)]
)
def test_a_threshold_is_read_off_the_quantiles(share: float, threshold: float) -> None:
    assert threshold_for_share((0.1, 0.3, 0.5, 0.7, 0.9), share) == pytest.approx(threshold)


def test_two_quantiles_are_a_uniform_distribution() -> None:
    for share in np.linspace(0, 1, 11):
        assert threshold_for_share((0.0, 1.0), float(share)) == pytest.approx(1 - share)


@given(QUANTILES, SHARES, SHARES)
def test_a_larger_share_never_has_a_higher_threshold(quantiles: list[float], one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert threshold_for_share(quantiles, large) <= threshold_for_share(quantiles, small)


@given(QUANTILES, SHARES)
@example([0.0, 0.8, 1.0], 2.0**-53)
def test_a_threshold_is_among_the_quantiles_or_an_end(quantiles: list[float], share: float) -> None:
    threshold = threshold_for_share(quantiles, share)
    assert threshold in (0.0, 1.0) or quantiles[0] <= threshold <= quantiles[-1]


@given(st.lists(st.floats(0, 1), min_size=50, max_size=200, unique=True), SHARES)
def test_a_threshold_gives_the_share_on_the_sample_that_the_table_was_made_of(
    scores: list[float], share: float
) -> None:
    threshold = threshold_for_share(np.quantile(scores, np.linspace(0, 1, 101)).tolist(), share)
    assert abs(float(np.mean(np.asarray(scores) >= threshold)) - share) <= 0.01 + 2 / len(scores)


# --- scores that many prompts have --------------------------------------------------------------------------

HALF_TIED = (0.1, 0.5, 0.5, 0.5, 0.9)  # half of the sample has 0.5


@pytest.mark.parametrize(
    ("share", "threshold"),
    [
        (0.8, 0.42),  # below the run, as ever
        (0.75, 0.5),  # just that
        (0.6, 0.5),  # 0.75 is nearer than 0.25
        (0.5, 0.50001),  # equally near: the cheaper
        (0.4, 0.50001),
        (0.25, 0.50001),
        (0.249999999, 0.50001),
        (0.2, 0.58),
    ],
)
def test_all_or_none_of_the_prompts_that_share_a_score(share: float, threshold: float) -> None:
    assert threshold_for_share(HALF_TIED, share) == pytest.approx(threshold, abs=1e-9)


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_one_score_for_all_is_all_or_nothing(score: float) -> None:
    table = (score,) * 5
    assert threshold_for_share(table, 0.9) == score
    assert threshold_for_share(table, 0.2) == 1.0
    assert share_for_threshold(table, threshold_for_share(table, 0.9)) == 1.0


def test_a_threshold_above_a_shared_score_survives_rounding_to_five_decimals() -> None:
    assert round(threshold_for_share(HALF_TIED, 0.3), 5) > 0.5


# --- back again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "share"), [(0.0, 1.0), (0.1, 1.0), (0.3, 0.875), (0.5, 0.75), (0.7, 0.125), (0.9, 0.0), (0.95, 0.0)]
)
def test_a_share_is_read_off_the_quantiles(threshold: float, share: float) -> None:
    assert share_for_threshold(HALF_TIED, threshold) == pytest.approx(share)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30, unique=True).map(sorted), SHARES)
def test_there_and_back_without_ties(quantiles: list[float], share: float) -> None:
    threshold = threshold_for_share(quantiles, share)
    # Where neighbours are as close as rounding, what lies between them cannot be told.
    steps = np.diff(quantiles)
    if steps.min() > 1e-6 and 0 < share < 1:
        assert share_for_threshold(quantiles, threshold) == pytest.approx(share, abs=1e-6)


@given(QUANTILES, SHARES)
def test_no_other_threshold_comes_nearer_to_the_wanted_share(quantiles: list[float], share: float) -> None:
    realized = share_for_threshold(quantiles, threshold_for_share(quantiles, share))
    others = [0.0, *quantiles, *(float(np.nextafter(q, 2)) for q in quantiles if q < 1), 1.0]
    best = min(abs(share_for_threshold(quantiles, other) - share) for other in others)
    # Just above a tie the table is read 1e-5 further on, or half-way to a quantile that is closer than that.
    slack = 1.0 / (len(quantiles) - 1)
    assert abs(realized - share) <= best + slack
