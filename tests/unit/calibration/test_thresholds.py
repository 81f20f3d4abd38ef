from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing_service.calibration.thresholds import share_at, threshold_for_share, threshold_from_scores

SHARES = st.floats(0, 1)
# Few distinct values, so that equal scores are common, and any value at all.
SCORES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=30)
QUANTILES = st.lists(st.floats(0, 1), min_size=2, max_size=30).map(sorted)


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
    assert abs(share_at(scores, threshold) - share) <= 0.01 + 2 / len(scores)


# --- from scores --------------------------------------------------------------------------------------------


def best_share(scores: list[float], share: float) -> float:
    """By brute force: the share nearest to `share` that any threshold in 0..1 gives."""
    values = sorted({*scores})
    candidates = [0.0, 1.0, *values, *(float(np.nextafter(v, 2)) for v in values if v < 1)]
    return min((share_at(scores, t) for t in candidates), key=lambda got: abs(got - share))


@given(SCORES, SHARES)
def test_the_realised_share_is_as_close_as_any_threshold_gets(scores: list[float], share: float) -> None:
    _, realised = threshold_from_scores(scores, share)
    assert abs(realised - share) <= abs(best_share(scores, share) - share) * (1 + 1e-4) + 1e-7


@given(SCORES, SHARES)
@example([0.0, 5e-324], 0.5)
@example([1.0, 1.0, float(np.nextafter(1, 0))], 0.7)
def test_the_realised_share_is_what_the_threshold_gives(scores: list[float], share: float) -> None:
    threshold, realised = threshold_from_scores(scores, share)
    assert 0.0 <= threshold <= 1.0
    assert share_at(scores, threshold) == pytest.approx(realised, abs=1e-12)


@given(SCORES, SHARES, SHARES)
def test_a_larger_share_of_the_same_sample_never_has_a_higher_threshold(
    scores: list[float], one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert threshold_from_scores(scores, large)[0] <= threshold_from_scores(scores, small)[0]


@given(SCORES, SHARES)
def test_the_order_of_the_scores_does_not_matter(scores: list[float], share: float) -> None:
    assert threshold_from_scores(scores, share) == threshold_from_scores(scores[::-1], share)


@pytest.mark.parametrize(
    ("scores", "share", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], 0.5, (0.25, 0.5)),
        ([0.1, 0.2, 0.3, 0.4], 0.0, (1.0, 0.0)),
        ([0.1, 0.2, 0.3, 0.4], 1.0, (0.0, 1.0)),
        ([0.5] * 9, 0.7, (0.0, 1.0)),  # all or nothing; all is nearer
        ([0.5] * 9, 0.3, (1.0, 0.0)),
        ([0.5] * 9, 0.5, (1.0, 0.0)),  # equally near: the cheaper
        ([1.0, 1.0, 0.2, 0.2], 0.0, (1.0, 0.5)),  # no threshold keeps a score of 1 from the strong model
        ([0.7], 1.0, (0.0, 1.0)),
    ],
)
def test_examples(scores: list[float], share: float, expected: tuple[float, float]) -> None:
    assert threshold_from_scores(scores, share) == pytest.approx(expected)


def test_a_threshold_lies_half_way_so_that_rounding_it_changes_nothing() -> None:
    scores = np.arange(1, 1000) / 1000
    threshold, realised = threshold_from_scores(scores, 0.3)
    assert share_at(scores, round(threshold, 5)) == realised == pytest.approx(0.3, abs=1e-3)


def test_scores_in_a_million_are_as_exact() -> None:
    scores = np.random.default_rng(0).random(1_000_000)
    assert threshold_from_scores(scores, 0.2)[1] == pytest.approx(0.2, abs=1e-6)


def test_no_scores_are_an_error() -> None:
    with pytest.raises(ValueError, match="no scores"):
        threshold_from_scores([], 0.5)


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (0.5, 2 / 3), (0.51, 1 / 3), (1.0, 1 / 3)])
def test_the_share_counts_scores_at_the_threshold(threshold: float, share: float) -> None:
    assert share_at([0.2, 0.5, 1.0], threshold) == pytest.approx(share)
