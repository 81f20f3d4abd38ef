"""The distribution of a stream of scores, in bounded memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

# The most different scores, about 1 MiB with their counts: one more than there are multiples of 2**-16 below 1.
MAX_DISTINCT = 2**16 + 1
# The finest grid for more scores. The next is half as fine, and so on down to 0 and 1 alone.
_FINEST_GRID = 40
# Merging costs time in proportion to the distinct scores, so it waits for this many new ones.
_PENDING = 2**14


class ScoreDistribution:
    """How often each score occurred. The result never depends on the order of the scores.

    Up to `max_distinct` different scores are counted exactly. After that a score counts as the multiple of
    `resolution` at or below it, where `resolution` is the smallest power of two that keeps the bound. The share of
    scores at or above such a multiple stays exact: rounding moves no score across it.

    Args:
        max_distinct: the most different scores, at least 2.
    """

    def __init__(self, max_distinct: int = MAX_DISTINCT) -> None:
        if max_distinct < 2:
            raise ValueError("max_distinct must be at least 2")
        self._max_distinct = max_distinct
        self._grid: int | None = None  # scores are multiples of 2**-grid; None: not rounded
        self._values: Float64 = np.empty(0)
        self._counts: Int64 = np.empty(0, np.int64)
        self._pending: Float64 = np.empty(_PENDING)
        self._pending_size = 0

    def add(self, scores: npt.ArrayLike) -> None:
        """Count more scores, one-dimensional.

        Raises:
            ValueError: one of them is not a number from 0 to 1. Then none of them is counted.
        """
        new = np.atleast_1d(np.asarray(scores, np.float64))
        if not ((new >= 0.0) & (new <= 1.0)).all():  # NaN fails every comparison
            raise ValueError("a score must be a number from 0 to 1")
        if self._pending_size + new.size > _PENDING:
            self._flush()
        if new.size > _PENDING:
            self._count(new, np.ones(new.size, np.int64))
            return
        self._pending[self._pending_size : self._pending_size + new.size] = new
        self._pending_size += new.size

    def merge(self, other: ScoreDistribution) -> None:
        """Add the counts of another distribution."""
        values, counts = other.counts()
        if other._grid is not None:
            self._flush()
            self._coarsen(other._grid)
        self._count(values, counts)

    @property
    def size(self) -> int:
        """How many scores were added."""
        return int(self._counts.sum()) + self._pending_size

    @property
    def resolution(self) -> float:
        """0 if scores are exact; else they are multiples of this power of two."""
        self._flush()
        return 0.0 if self._grid is None else 2.0**-self._grid

    def counts(self) -> tuple[Float64, Int64]:
        """The distinct scores, ascending, and how often each occurred. Do not change the arrays."""
        self._flush()
        return self._values, self._counts

    def share_at(self, threshold: float) -> float:
        """The share of scores at or above a threshold, in 0..1; exact if that is a multiple of `resolution`."""
        values, counts = self.counts()
        return float(counts[np.searchsorted(values, threshold) :].sum() / counts.sum())

    def quantiles(self, count: int) -> list[float]:
        """The scores at `count` evenly spaced levels from 0 to 1, interpolated like `numpy.quantile`.

        Raises:
            ValueError: there are no scores, or `count` is below 2.
        """
        values, counts = self.counts()
        if not values.size or count < 2:
            raise ValueError("quantiles need a score and at least two levels")
        last = np.cumsum(counts) - 1  # the rank of each value's last occurrence
        position = np.linspace(0, last[-1], count)
        below = values[np.searchsorted(last, np.floor(position))]
        above = values[np.searchsorted(last, np.ceil(position))]
        found = np.clip(below + (above - below) * (position - np.floor(position)), below, above)
        return [float(value) for value in np.maximum.accumulate(found)]

    def _flush(self) -> None:
        if self._pending_size:
            pending = self._pending[: self._pending_size]
            self._pending_size = 0
            self._count(pending, np.ones(pending.size, np.int64))

    def _count(self, values: Float64, counts: Int64) -> None:
        both = np.concatenate((self._values, _floor(values, self._grid)))
        self._values, self._counts = _grouped(both, np.concatenate((self._counts, counts)))
        grid = _FINEST_GRID if self._grid is None else self._grid - 1
        while self._values.size > self._max_distinct:
            self._coarsen(grid)
            grid -= 1

    def _coarsen(self, grid: int) -> None:
        if self._grid is None or grid < self._grid:
            self._grid = grid
            self._values, self._counts = _grouped(_floor(self._values, grid), self._counts)


def _floor(values: Float64, grid: int | None) -> Float64:
    """The multiples of 2**-grid at or below the values; exact, because scaling by a power of two is exact."""
    return values if grid is None else np.floor(values * 2.0**grid) * 2.0**-grid


def _grouped(values: Float64, counts: Int64) -> tuple[Float64, Int64]:
    """Distinct values, ascending, and the sum of counts of each."""
    if not values.size:
        return values, counts
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return values[starts], np.add.reduceat(counts, starts)
