"""Soft targets to probabilities of labels and ratings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_lab.training.finetune.labels import (
    FIRST_WEAK_RATING,
    RATINGS,
    Ties,
    outcome_probabilities,
    rating_probabilities,
    win_probabilities,
)

targets = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(targets, st.sampled_from(Ties))
def test_what_is_taught_adds_up_and_gives_the_win_rate_that_is_served(values: list[float], ties: Ties) -> None:
    outcomes, ratings = outcome_probabilities(values, ties), rating_probabilities(values, ties)
    for probabilities in (outcomes, ratings):
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    served = 1 - outcomes[:, -2:].sum(1) if ties is Ties.WEAK else outcomes[:, 0]
    np.testing.assert_allclose(served, win_probabilities(values, ties), atol=1e-12)
    np.testing.assert_allclose(
        1 - ratings[:, FIRST_WEAK_RATING - 1 :].sum(1), win_probabilities(values, ties), atol=1e-12
    )


@given(targets, st.sampled_from(Ties))
def test_a_better_strong_model_gets_no_lower_win_rate_and_no_higher_rating(values: list[float], ties: Ties) -> None:
    ordered = sorted(values)
    assert (np.diff(win_probabilities(ordered, ties)) >= 0).all()
    mean_ratings = rating_probabilities(ordered, ties) @ np.arange(1, RATINGS + 1)
    if ties is Ties.WEAK:
        assert (np.diff(mean_ratings) <= 1e-12).all()


@pytest.mark.parametrize(
    ("target", "ties", "outcomes", "ratings"),
    [
        (1.0, Ties.WEAK, [1, 0, 0], [1, 0, 0, 0, 0]),
        (0.5, Ties.WEAK, [0, 1, 0], [0, 0, 0, 1, 0]),
        (0.0, Ties.WEAK, [0, 0, 1], [0, 0, 0, 0, 1]),
        (0.75, Ties.WEAK, [0.5, 0.5, 0], [0, 0.5, 0, 0.5, 0]),
        (0.25, Ties.WEAK, [0, 0.5, 0.5], [0, 0, 0, 0.5, 0.5]),
        (1.0, Ties.HALF, [1, 0], [1, 0, 0, 0, 0]),
        (0.5, Ties.HALF, [0.5, 0.5], [0, 0, 0.5, 0.5, 0]),
        (0.0, Ties.HALF, [0, 1], [0, 0, 0, 0, 1]),
    ],
)
def test_probabilities_by_hand(target: float, ties: Ties, outcomes: list[float], ratings: list[float]) -> None:
    np.testing.assert_allclose(outcome_probabilities([target], ties), [outcomes])
    np.testing.assert_allclose(rating_probabilities([target], ties), [ratings])


def test_the_ratings_are_those_of_the_export() -> None:
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    from export_onnx import causal_llm

    assert (len(causal_llm.RATINGS), causal_llm.SCORE_THRESHOLD) == (RATINGS, FIRST_WEAK_RATING)
