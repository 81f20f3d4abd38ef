"""Soft targets to what a text classifier is trained to say: an outcome (win, tie, loss), or a rating from 1 to 5.

A target in 0..1 is the strong model's win, 1, loss, 0, tie, 0.5, or a share between them. Its *lead*, `2 * target - 1`
in -1..1, is read as the probability that the strong model wins, where it is positive, or loses, where it is negative;
what is left of 1 is the probability of a tie.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
# RouteLLM's five ratings: 1 to 3 speak for the strong model, 4 and 5 say that the weak one will do.
RATINGS, FIRST_WEAK_RATING = 5, 4


class Ties(StrEnum):
    """What a tie counts for in the win rate that is learnt.

    `WEAK` is RouteLLM's rule, that the weak model will do where both do as well: the win rate is the probability
    that the strong model is strictly better. `HALF` counts a tie as half a win: the win rate is the expected target.
    """

    WEAK = "weak"
    HALF = "half"


def win_probabilities(targets: npt.ArrayLike, ties: Ties) -> Float64:
    """The win rates, (rows,) in 0..1, that a perfectly calibrated router would give for these targets, (rows,)."""
    wanted = np.asarray(targets, np.float64)
    return np.maximum(2 * wanted - 1, 0.0) if ties is Ties.WEAK else wanted


def outcome_probabilities(targets: npt.ArrayLike, ties: Ties) -> Float64:
    """Probabilities of a classifier's labels, (rows, labels); the first label's is the win rate.

    With `Ties.WEAK` there are RouteLLM's three labels, win, tie and loss of the strong model; the win rate is one minus
    the last two. With `Ties.HALF` there are two, strong and weak.
    """
    wins = win_probabilities(targets, ties)
    if ties is Ties.HALF:
        return np.stack([wins, 1 - wins], axis=1)
    losses = win_probabilities(1 - np.asarray(targets, np.float64), ties)
    return np.stack([wins, 1 - wins - losses, losses], axis=1)


def rating_probabilities(targets: npt.ArrayLike, ties: Ties) -> Float64:
    """Probabilities of the ratings 1 to 5, (rows, 5); those of 1 to 3 add up to the win rate.

    The probability of a win goes to ratings 3 to 1, the nearer to 1 the larger the lead, and what is left to 4 or 5,
    the nearer to 5 the larger the other model's lead; a place between two ratings is shared between them.
    """
    lead = 2 * np.asarray(targets, np.float64) - 1
    wins = win_probabilities(targets, ties)
    strongest = FIRST_WEAK_RATING - 1
    strong_place = strongest - (strongest - 1) * np.maximum(lead, 0.0)
    weak_place = FIRST_WEAK_RATING + (RATINGS - FIRST_WEAK_RATING) * np.maximum(-lead, 0.0)
    return wins[:, None] * _shared_out(strong_place) + (1 - wins)[:, None] * _shared_out(weak_place)


def _shared_out(place: Float64) -> Float64:
    """For each place in 1..5 the shares, adding up to 1, of the ratings around it: (rows, 5)."""
    shares: Float64 = np.maximum(1 - np.abs(place[:, None] - np.arange(1, RATINGS + 1)), 0.0)
    return shares
