"""Points of a calibration: the threshold for a wanted share, the share that it gives, and their intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.intervals import Interval, wilson
from routing_service.calibration.thresholds import (
    EVERYTHING_STRONG,
    NOTHING_STRONG,
    share_for_threshold,
    threshold_for_share,
)

# Two shares that differ by less count as equal: it is less than a prompt in a hundred million, and more than rounding.
_SAME = 1e-9


class CalibrationPoint(NamedTuple):
    """The threshold for a wanted share. All numbers are in 0..1.

    `realized_share` is the share that the threshold gives on the sample. `share_interval` is the interval of the share
    that it gives on traffic like the sample; `threshold_interval` that of the threshold that gives the wanted share
    there. Both are at 95 %, for independent prompts, and None if the sample's size is not known. `tied_share` is the
    share of the sample with the score that a threshold would have to divide to give exactly the wanted share; 0
    if it is given exactly, None if not known.
    """

    strong_share: float
    threshold: float
    realized_share: float
    share_interval: Interval | None
    threshold_interval: Interval | None
    tied_share: float | None


def point_from_scores(scores: ScoreDistribution, strong_share: float) -> CalibrationPoint:
    """The point whose realized share is as close to `strong_share` (0..1) as equal scores allow.

    The threshold is half-way between two scores if possible, to survive rounding. Of two equally close
    shares, the smaller, cheaper one is taken.

    Raises:
        ValueError: there are no scores.
    """
    values, counts = scores.counts()
    if not values.size:
        raise ValueError("there are no scores to calibrate on")
    size = int(counts.sum())
    # at_least[i] scores are at or above values[i]; the last entry is for a threshold above every score.
    at_least = np.append(np.cumsum(counts[::-1])[::-1], 0)
    reachable = at_least[:-1] if values[-1] >= NOTHING_STRONG else at_least
    distance = np.abs(reachable / size - strong_share)
    best = int(np.flatnonzero(distance <= distance.min() + _SAME)[-1])
    realized = float(reachable[best] / size)
    tied = 0.0
    if abs(realized - strong_share) > _SAME:
        divided = int(np.flatnonzero(at_least / size > strong_share)[-1])
        tied = float(counts[divided] / size)
    threshold = NOTHING_STRONG if strong_share <= 0 else threshold_below(scores, best)
    # Woodruff's interval (1952): the thresholds that give the ends of the wanted share's own interval.
    few, many = wilson(strong_share, size)
    reaching = int(np.flatnonzero(at_least >= many * size)[-1]) if many < 1 else 0
    within = int(np.flatnonzero(at_least <= few * size)[0])
    low = float(values[reaching]) if reaching else EVERYTHING_STRONG
    high = float(values[within]) if within < values.size else NOTHING_STRONG
    interval = Interval(min(low, threshold), max(high, threshold))
    return CalibrationPoint(strong_share, threshold, realized, wilson(realized, size), interval, tied)


def threshold_below(scores: ScoreDistribution, index: int) -> float:
    """The threshold that takes the distinct scores from `index` on: 0 for all, 1 for none, else half-way down."""
    values, _ = scores.counts()
    if index == 0:
        return EVERYTHING_STRONG
    if index == values.size:
        return NOTHING_STRONG
    # A score that counts as a multiple of the resolution may lie anywhere up to the next multiple.
    below, above = float(values[index - 1]) + scores.resolution, float(values[index])
    middle = (below + above) / 2
    return middle if middle > below and not scores.resolution else above


def point_from_table(table: CalibrationTable, strong_share: float) -> CalibrationPoint:
    """The point that a table gives for `strong_share` (0..1)."""
    threshold = threshold_for_share(table.quantiles, strong_share)
    realized = share_for_threshold(table.quantiles, threshold)
    if table.sample_size < 1:  # a table that was computed, not counted
        return CalibrationPoint(strong_share, threshold, realized, None, None, None)
    few, many = wilson(strong_share, table.sample_size)
    low, high = threshold_for_share(table.quantiles, many), threshold_for_share(table.quantiles, few)
    interval = Interval(min(low, threshold), max(high, threshold))
    return CalibrationPoint(strong_share, threshold, realized, wilson(realized, table.sample_size), interval, None)
