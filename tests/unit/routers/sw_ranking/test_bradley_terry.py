"""Ratings against scikit-learn's logistic regression, battle by battle as RouteLLM does, and their invariants."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from routing_service.routers.sw_ranking.bradley_terry import newton_ratings, routellm_ratings, win_rate

Matrix = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
A_WINS, B_WINS, TIE = 0, 1, 2


def battles(seed: int, players: int, count: int) -> tuple[Integers, Integers, Integers]:
    """Sides a, sides b and outcomes: battles of players of chance strength, some of a player with itself."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(players, size=(2, count))
    strength = rng.normal(0.0, 0.4, players)
    outcome = np.where(rng.random(count) > 1 / (1 + 10 ** (strength[b] - strength[a])), B_WINS, A_WINS)
    return a, b, np.where(rng.random(count) < 0.2, TIE, outcome)


def wins_of(a: Integers, b: Integers, outcome: Integers, weights: Matrix, players: int) -> Matrix:
    """The matrix of wins, one battle at a time."""
    wins = np.zeros((players + 1, players + 1))
    for one, other, result, weight in zip(a, b, outcome, weights, strict=True):
        first = players if one == other else one
        wins[first, other] += weight * {A_WINS: 2, B_WINS: 0, TIE: 1}[result]
        wins[other, first] += weight * {A_WINS: 0, B_WINS: 2, TIE: 1}[result]
    return wins


def regressed(a: Integers, b: Integers, outcome: Integers, weights: Matrix, players: int) -> Matrix:
    """Coefficients of a logistic regression over battles, each twice; a tie is won once and lost once."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="the extra `train` is not installed")
    design = np.zeros((2 * len(a), players))
    rows = np.arange(2 * len(a))
    design[rows, np.tile(a, 2)] = math.log(10)
    design[rows, np.tile(b, 2)] = -math.log(10)  # where a is b, this takes the place of the line above
    target = np.concatenate([outcome != B_WINS, outcome == A_WINS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped early is what is compared
        model = linear_model.LogisticRegression(fit_intercept=False, C=np.inf)
        coefficients: Matrix = model.fit(design, target, sample_weight=np.tile(weights, 2)).coef_[0]
    return coefficients


@pytest.mark.parametrize("seed", range(12))
def test_ratings_are_those_of_the_regression_that_routellm_runs(seed: int) -> None:
    players, count = 2 + seed, 60 + 40 * seed
    fought = battles(seed, players, count)
    weights = 10 ** np.random.default_rng(seed).normal(0.0, 0.3, count)
    ratings = routellm_ratings(wins_of(*fought, weights, players))
    assert ratings == pytest.approx(regressed(*fought, weights, players), abs=1e-7)


def test_newton_is_the_maximum_that_the_early_stop_is_near() -> None:
    fought = battles(3, 10, 900)
    wins = wins_of(*fought, np.ones(900), 10)
    (ratings,) = newton_ratings(wins[np.newaxis])
    near = routellm_ratings(wins)
    expected = win_rate(np.append(ratings, 0.0)[:, np.newaxis], np.append(ratings, 0.0))
    surplus = (wins - (wins + wins.T) * expected).sum(axis=1)[:-1]
    assert np.abs(surplus).max() / wins.sum() < 1e-6  # the likelihood's gradient
    assert 1e-7 < np.abs(ratings - near).max() < 5e-3


def test_two_players_have_the_closed_form() -> None:
    wins = np.zeros((3, 3))
    wins[0, 1], wins[1, 0] = 9.0, 1.0
    for ratings in (routellm_ratings(wins), newton_ratings(wins[np.newaxis])[0]):
        assert win_rate(ratings[0], ratings[1]) == pytest.approx(0.9, abs=1e-3)


def test_a_tier_against_itself_pulls_its_rating_by_the_fixed_player() -> None:
    """All won by side a, which RouteLLM's design matrix reads as losses of the tier: it is no even match."""
    nothing = np.array([0]), np.array([0])
    wins = wins_of(*nothing, np.array([A_WINS]), np.array([1.0]), 1)
    assert wins.tolist() == [[0.0, 0.0], [2.0, 0.0]]
    assert routellm_ratings(wins)[0] < -1


@pytest.mark.parametrize("solve", [routellm_ratings, lambda wins: newton_ratings(wins[np.newaxis])[0]])
def test_what_the_battles_leave_open_is_finite(solve: object) -> None:
    assert callable(solve)
    nothing = np.zeros((4, 4))
    assert solve(nothing).tolist() == [0.0, 0.0, 0.0]

    separated = np.zeros((4, 4))
    separated[0, 1] = 5.0
    ratings = solve(separated)
    assert np.isfinite(ratings).all()
    assert ratings[2] == pytest.approx(0.0, abs=1e-9)  # no battles
    assert win_rate(ratings[0], ratings[1]) > 0.99

    apart = np.zeros((5, 5))
    apart[0, 1], apart[1, 0], apart[2, 3], apart[3, 2] = 3.0, 1.0, 3.0, 1.0
    ratings = solve(apart)
    assert ratings == pytest.approx([ratings[0], -ratings[0], ratings[0], -ratings[0]], abs=1e-6)
    assert ratings[0] > 0


matrices = st_numpy.arrays(
    np.float64, (4, 4), elements=st.one_of(st.just(0.0), st.floats(1e-12, 1e12, allow_nan=False))
)


@given(matrices)
def test_ratings_are_always_finite_and_rates_probabilities(wins: Matrix) -> None:
    np.fill_diagonal(wins, 0.0)
    for ratings in (routellm_ratings(wins), newton_ratings(wins[np.newaxis])[0]):
        assert ratings.shape == (3,)
        assert np.isfinite(ratings).all()
        rate = win_rate(ratings[0], ratings[1])
        assert 0.0 <= rate <= 1.0
        assert rate + win_rate(ratings[1], ratings[0]) == pytest.approx(1.0)


@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_only_proportions_of_weights_matter(seed: int, factor: float) -> None:
    wins = wins_of(*battles(seed, 4, 80), np.ones(80), 4)
    assert routellm_ratings(wins * factor) == pytest.approx(routellm_ratings(wins), abs=1e-6)
    assert newton_ratings(np.stack([wins, wins * factor]))[1] == pytest.approx(
        newton_ratings(wins[np.newaxis])[0], abs=1e-9
    )


def test_win_rates_do_not_overflow() -> None:
    assert win_rate(1e6, -1e6) == 1.0
    assert win_rate(-1e6, 1e6) == 0.0
    assert win_rate(0.25, 0.0) == pytest.approx(1 / (1 + 10**-0.25))
