"""Tiers of models by their overall rating, as RouteLLM makes them: the split with the least sum of variances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def compute_tiers(ratings: Mapping[str, float], num_tiers: int) -> dict[str, int]:
    """Put models into tiers, each a run of models in the order of their ratings.

    The sum over tiers of the variance of their ratings (of a tier, not weighted by its size) is the least possible;
    where splits are equally good, the one whose last tier is longest. As in RouteLLM a tier may stay empty, which
    costs nothing: a tier number then has no model. That happens when there are fewer models than tiers, and where
    ratings are equal.

    Args:
        ratings: each model's Elo rating.
        num_tiers: how many tiers, at least 1.

    Returns:
        Each model's tier, from 0 for the highest rated, in that order.
    """
    names = sorted(ratings, key=lambda name: -ratings[name])
    values = np.array([ratings[name] for name in names], np.float64)
    count = len(names)
    # variances[i, j]: of the models i to j.
    variances = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            variances[i, j] = np.var(values[i : j + 1])
    cost = variances[0]
    ends: list[list[int]] = []
    for _ in range(1, num_tiers):
        # A single model costs nothing in any number of tiers, so it may be all there is before an empty tier.
        end, best = [0] * count, np.zeros(count)
        for j in range(1, count):
            candidates = cost[:j] + variances[1 : j + 1, j]
            end[j] = int(candidates.argmin())
            best[j] = candidates[end[j]]
        ends.append(end)
        cost = best
    lasts = [count - 1]
    for end in reversed(ends):
        lasts.append(end[lasts[-1]])
    lasts.reverse()
    tiers: dict[str, int] = {}
    for index, name in enumerate(names):
        tiers[name] = next(tier for tier, last in enumerate(lasts) if index <= last)
    return tiers
