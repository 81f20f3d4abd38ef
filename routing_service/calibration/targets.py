"""The threshold that meets a target: a quality that must be kept, or a budget that must not be exceeded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.intervals import Interval
from routing_service.calibration.labelled import LabelledData
from routing_service.calibration.points import threshold_below
from routing_service.calibration.thresholds import NOTHING_STRONG
from routing_service.errors import UsageError

Float64 = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

RESAMPLES = 1000
# Sums of many scores are rounded; a target that is missed by less counts as met.
_ROUNDING = 1e-9


class Estimate(NamedTuple):
    """A figure on the sample, with its 95 % bootstrap interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class TargetPoint:
    """A threshold that meets a target on the sample, and its expected results.

    `quality` is the mean score of the answers and `quality_ratio` its ratio to the strong model's mean; both are None
    without labels, and the ratio is None if that mean is 0. `cost` is the mean US dollars for a request, `strong_cost`
    and `weak_cost` those of each model alone, and `cost_saving` the saved part of the strong model's cost; None
    without prices. `call_saving` is the part of calls that the weak model answers. `met` is the part of resamples
    on which the threshold meets the target.
    """

    threshold: float
    strong_share: Estimate
    call_saving: Estimate
    quality: Estimate | None
    quality_ratio: Estimate | None
    cost: Estimate | None
    cost_saving: Estimate | None
    strong_quality: float | None
    weak_quality: float | None
    strong_cost: float | None
    weak_cost: float | None
    met: float


class Tradeoff:
    """Every possible choice between share, quality and cost for a router's scores on labelled prompts.

    Args:
        scores: the router's win rate of each prompt, in 0..1, at least one.
        data: a row for each; `strong` and `weak` or the costs may be empty.
        seed: of the resamples.
    """

    def __init__(self, scores: npt.ArrayLike, data: LabelledData, seed: int = 0) -> None:
        self._scores = np.asarray(scores, np.float64)
        if not self._scores.size:
            raise ValueError("there are no scores to calibrate on")
        self._distribution = ScoreDistribution(max(2, self._scores.size))  # exact: the rows are held anyway
        self._distribution.add(self._scores)
        self._strong, self._weak = np.asarray(data.strong), np.asarray(data.weak)
        self._strong_cost, self._weak_cost = np.asarray(data.strong_cost), np.asarray(data.weak_cost)
        self._seed = seed
        values, counts = self._distribution.counts()
        # One candidate for each distinct score, taken from it on, and one above all, unless none is above a score of 1.
        self._candidates = np.arange(values.size + (values[-1] < NOTHING_STRONG))[::-1]
        at_least = np.append(np.cumsum(counts[::-1])[::-1], 0)
        self._chosen = at_least[self._candidates]
        self._order = np.argsort(-self._scores, kind="stable")

    def for_quality(self, target: float, confidence: float | None = None) -> TargetPoint:
        """The smallest strong share whose mean score is at least `target` (0.9: nine tenths) of the strong model's.

        By the sample's mean; new traffic misses it about half of the time. Or, with `confidence` (0..1), on at
        least that part of its bootstrap resamples.

        Raises:
            UsageError: no threshold reaches it (it names the best), or the strong model's mean is not positive.
        """
        strong = float(self._strong.mean())
        if strong <= 0:
            raise UsageError(
                f"the strong model's mean score is {strong:g}, and a part of that is no target; "
                "give scores of which higher is better and most are above 0"
            )
        ratios = self._means(self._strong, self._weak) / strong
        if not (reaching := np.flatnonzero(ratios >= target - _ROUNDING)).size:
            best = int(np.argmax(ratios))
            raise UsageError(
                f"no threshold reaches {target:g} of the strong model's mean score; the best is {ratios[best]:.4f}, "
                f"with {self._share(best):.1%} strong calls"
            )

        def meets(quality: Float64, whole: Float64) -> Booleans:
            return quality >= target * whole - _ROUNDING

        if confidence is not None:
            met = self._met(self._strong, self._weak, self._strong, meets)
            if not (reaching := np.flatnonzero(met >= confidence)).size:
                raise UsageError(f"no threshold reaches {target:g} of the strong model's mean score {self._best(met)}")
        return self._point(int(reaching[0]), lambda means: meets(means.quality, means.strong_quality))

    def for_budget(self, budget: float, confidence: float | None = None) -> TargetPoint:
        """The largest strong share with a mean cost of at most `budget` US dollars a request; `confidence` as above.

        Raises:
            UsageError: no threshold is so cheap; it names the cheapest.
        """
        costs = self._means(self._strong_cost, self._weak_cost)
        if not (affordable := np.flatnonzero(costs <= budget * (1 + _ROUNDING))).size:
            least = int(np.argmin(costs))
            raise UsageError(
                f"no threshold costs as little as {budget:g} USD a request; the least is {costs[least]:.6g}, "
                f"with {self._share(least):.1%} strong calls"
            )

        def meets(cost: Float64, _whole: Float64) -> Booleans:
            return cost <= budget * (1 + _ROUNDING)

        if confidence is not None:
            met = self._met(self._strong_cost, self._weak_cost, self._strong_cost, meets)
            if not (affordable := np.flatnonzero(met >= confidence)).size:
                raise UsageError(f"no threshold costs as little as {budget:g} USD a request {self._best(met)}")
        return self._point(int(affordable[-1]), lambda means: meets(means.cost, means.strong_cost))

    def _share(self, candidate: int) -> float:
        return float(self._chosen[candidate] / self._scores.size)

    def _best(self, met: Float64) -> str:
        best = int(np.argmax(met))
        return f"so surely; the best does on {met[best]:.1%} of resamples, with {self._share(best):.1%} strong calls"

    def _met(self, strong: Float64, weak: Float64, whole: Float64, meets: Callable[..., Booleans]) -> Float64:
        """The part of resamples on which each candidate meets a target of means; `whole` is a column's own mean."""
        met = np.zeros(self._chosen.size)
        gain, size = (strong - weak)[self._order], self._scores.size
        for weights in _resamples(size, self._seed):
            gains = np.append(0.0, np.cumsum(gain * weights[self._order]))[self._chosen]
            met += meets((weights @ weak + gains) / size, weights @ whole / size)
        return met / RESAMPLES

    def _means(self, strong: Float64, weak: Float64) -> Float64:
        """The mean at every candidate, by rising share, when chosen prompts give `strong` and the others `weak`."""
        gains = np.append(0.0, np.cumsum((strong - weak)[self._order]))
        means: Float64 = (weak.sum() + gains[self._chosen]) / self._scores.size
        return means

    def _point(self, candidate: int, meets: Callable[[_Means], Booleans]) -> TargetPoint:
        threshold = threshold_below(self._distribution, int(self._candidates[candidate]))
        columns = self._columns(threshold)
        once = _Means(columns.mean(axis=0)[np.newaxis])
        again = _Means(_resampled_means(columns, self._seed))
        labelled, priced = bool(self._strong.size), bool(self._strong_cost.size)
        scored, paid = bool(once.strong_quality[0]), bool(once.strong_cost[0])

        def estimate(figure: Callable[[_Means], Float64]) -> Estimate:
            low, high = np.nanquantile(figure(again), (0.025, 0.975))
            value = float(figure(once)[0])
            return Estimate(value, Interval(min(value, float(low)), max(value, float(high))))

        return TargetPoint(
            threshold,
            estimate(lambda means: means.share),
            estimate(lambda means: 1 - means.share),
            estimate(lambda means: means.quality) if labelled else None,
            estimate(lambda means: _ratio(means.quality, means.strong_quality)) if scored else None,
            estimate(lambda means: means.cost) if priced else None,
            estimate(lambda means: 1 - _ratio(means.cost, means.strong_cost)) if paid else None,
            float(once.strong_quality[0]) if labelled else None,
            float(once.weak_quality[0]) if labelled else None,
            float(once.strong_cost[0]) if priced else None,
            float(once.weak_cost[0]) if priced else None,
            float(meets(again).mean()),
        )

    def _columns(self, threshold: float) -> Float64:
        """The columns to average, a row for each prompt: see `_Means`."""
        chosen = self._scores >= threshold
        columns = np.zeros((self._scores.size, 7))
        columns[:, 0] = chosen
        for first, strong, weak in ((1, self._strong, self._weak), (4, self._strong_cost, self._weak_cost)):
            if strong.size:
                columns[:, first] = np.where(chosen, strong, weak)
                columns[:, first + 1], columns[:, first + 2] = strong, weak
        return columns


@dataclass(frozen=True, slots=True)
class _Means:
    """Means of samples: an array of shape (samples, 7)."""

    table: Float64

    @property
    def share(self) -> Float64:
        return self.table[:, 0]

    @property
    def quality(self) -> Float64:
        return self.table[:, 1]

    @property
    def strong_quality(self) -> Float64:
        return self.table[:, 2]

    @property
    def weak_quality(self) -> Float64:
        return self.table[:, 3]

    @property
    def cost(self) -> Float64:
        return self.table[:, 4]

    @property
    def strong_cost(self) -> Float64:
        return self.table[:, 5]

    @property
    def weak_cost(self) -> Float64:
        return self.table[:, 6]


def _ratio(part: Float64, whole: Float64) -> Float64:
    """NaN if the whole is 0, which is possible in a resample of few rows."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole != 0)


def _resampled_means(columns: Float64, seed: int) -> Float64:
    """Column means of `RESAMPLES` samples of the rows; shape (RESAMPLES, columns)."""
    return np.array([weights @ columns for weights in _resamples(len(columns), seed)]) / len(columns)


def _resamples(size: int, seed: int) -> Iterator[Float64]:
    """How often each of `size` rows is in each of `RESAMPLES` samples of `size` rows, drawn with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(0, size, size), minlength=size).astype(np.float64)
