"""Bradley-Terry ratings of a few players from a matrix of wins.

A player rated `a` beats one rated `b` with probability `1 / (1 + 10 ** (b - a))`; 400 times a rating is an Elo rating.
The likelihood of weighted battles depends only on the player-by-player matrix of wins, so
a query's ratings cost as much as ten players, not as 55,000 battles.

The last player of a matrix is the *fixed player*, whose rating is always 0. RouteLLM's design matrix has +1 for the
first model and then -1 for the second; in a battle of a tier with itself the -1 replaces the +1, so that such a
battle counts as the first model, rated 0, against the tier. It changes win rates by more than a percent, so it is part
of the definition: those battles belong in the fixed player's row and column of the matrix.

Ratings are always finite. A player without battles is rated 0. If no battle connects two groups, only differences
within each group come from the battles. If one side never loses, the maximum is at infinity, and the rating is where
the solver stops.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from routing_service.routers.sw_ranking import lbfgs

Matrix = npt.NDArray[np.float64]

LN10 = math.log(10.0)
# scikit-learn's defaults for LogisticRegression, which RouteLLM uses.
GRADIENT_TOLERANCE = 1e-4
MAX_ITERATIONS = 100

# Newton's method maximizes the mean log-likelihood of a win minus half this much of the squared ratings, in logits.
# This keeps ratings finite that the battles do not determine, and hardly changes the others.
RIDGE = 1e-8
NEWTON_ITERATIONS = 60
NEWTON_TOLERANCE = 1e-9
MAX_NEWTON_STEP = 2.0


def routellm_ratings(wins: Matrix) -> Matrix:
    """RouteLLM's ratings: scikit-learn's logistic regression without penalty, stopped at the same point.

    Args:
        wins: float64 of shape (players + 1, players + 1); `wins[i, j]` is how often, in weight, i beat j. Not negative.

    Returns:
        float64 of shape (players,). All 0 when there are no wins at all.
    """
    total = wins.sum()
    start = np.zeros(len(wins) - 1)
    if not total > 0:
        return start
    share = wins / total
    rated = np.zeros(len(wins))

    def objective(ratings: Matrix) -> tuple[float, Matrix]:
        rated[:-1] = ratings
        # Row i, column j: the logit of j beating i.
        logits = LN10 * (rated - rated[:, np.newaxis])
        surprise = share / (1.0 + np.exp(-logits))
        gradient = LN10 * (surprise.sum(axis=0) - surprise.sum(axis=1))
        return float(np.vdot(share, np.logaddexp(0.0, logits))), gradient[:-1]

    with np.errstate(over="ignore"):  # exp(-logits) may be infinite, and 1 / infinity is right
        return lbfgs.minimize(objective, start, gradient_tolerance=GRADIENT_TOLERANCE, max_iterations=MAX_ITERATIONS)


def newton_ratings(wins: Matrix) -> Matrix:
    """The maximum-likelihood ratings, of many queries at once.

    Args:
        wins: float64 of shape (queries, players + 1, players + 1), as for `routellm_ratings`.

    Returns:
        float64 of shape (queries, players). If the maximum is not unique, the one nearest to all zeros; if
        it is at infinity, the rating is finite but large.
    """
    queries, size = wins.shape[:2]
    total = wins.sum(axis=(1, 2))[:, np.newaxis, np.newaxis]
    share = np.divide(wins, total, out=np.zeros_like(wins), where=total > 0)
    games = share + share.transpose(0, 2, 1)
    won = share.sum(axis=2)
    logits = np.zeros((queries, size))
    diagonal = np.arange(size)
    free = slice(None, size - 1)
    for _ in range(NEWTON_ITERATIONS):
        half = np.tanh(0.5 * (logits[:, :, np.newaxis] - logits[:, np.newaxis, :]))
        expected = (games * (0.5 + 0.5 * half)).sum(axis=2)
        hessian = games * (half * half - 1.0) * 0.25
        hessian[:, diagonal, diagonal] = 0.0
        hessian[:, diagonal, diagonal] = RIDGE - hessian.sum(axis=2)
        gradient = (won - expected - RIDGE * logits)[:, free]
        step = np.linalg.solve(hessian[:, free, free], gradient[:, :, np.newaxis])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, MAX_NEWTON_STEP / np.maximum(longest, MAX_NEWTON_STEP))
        logits[:, free] += step
        if longest.max(initial=0.0) < NEWTON_TOLERANCE:
            break
    return logits[:, free] / LN10


def win_rate(stronger: npt.ArrayLike, weaker: npt.ArrayLike) -> Matrix:
    """The probability, in 0..1, that a player rated `stronger` beats one rated `weaker`; arrays broadcast."""
    return 0.5 + 0.5 * np.tanh(0.5 * LN10 * (np.asarray(stronger, np.float64) - np.asarray(weaker, np.float64)))
