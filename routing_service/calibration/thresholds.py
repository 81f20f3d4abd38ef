"""From shares of strong decisions to thresholds and back, by a table (RouteLLM, arXiv 2406.18665, section 4).

A table is a sequence of quantiles: scores at evenly spaced levels from 0 to 1, ascending, at least two. Between them
scores are assumed to be evenly spread; equal quantiles are a score that many prompts have.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

# A threshold of 1 is the highest: it sends only a win rate of exactly 1 to the strong model.
NOTHING_STRONG = 1.0
EVERYTHING_STRONG = 0.0
# To leave out a score that many prompts have, the threshold is this much above it: it survives rounding to 5 decimals.
_JUST_ABOVE = 1e-5


def threshold_for_share(quantiles: Sequence[float], strong_share: float) -> float:
    """The threshold that sends about `strong_share` (0..1) of traffic like the calibration sample to the strong model.

    Prompts with the same score cannot be divided. The threshold takes all of them or none, whichever is nearer
    to the wanted share. Of two equally near shares it takes the smaller, cheaper one.
    """
    if strong_share <= 0.0:
        return NOTHING_STRONG
    if strong_share >= 1.0:
        return EVERYTHING_STRONG
    position = (1.0 - strong_share) * (len(quantiles) - 1)
    below = int(position)
    low, high = quantiles[below], quantiles[min(below + 1, len(quantiles) - 1)]
    first, last = bisect_left(quantiles, low), bisect_right(quantiles, low) - 1
    if first == last:
        return low + (high - low) * (position - below)
    if position - first < last - position:
        return low
    if last == len(quantiles) - 1:
        return NOTHING_STRONG
    following = quantiles[last + 1]
    return max(low + (following - low) * max(0.0, position - last), just_above(low, following))


def just_above(score: float, following: float) -> float:
    """A threshold that leaves out prompts of that score, and as few as possible of those up to the next quantile."""
    return max(math.nextafter(score, 2.0), score + min(_JUST_ABOVE, (following - score) / 2))


def share_for_threshold(quantiles: Sequence[float], threshold: float) -> float:
    """The share of the calibration sample at or above a threshold, in 0..1, by the table."""
    if threshold <= quantiles[0]:
        return 1.0
    if threshold > quantiles[-1]:
        return 0.0
    above = bisect_left(quantiles, threshold)
    low, high = quantiles[above - 1], quantiles[above]
    return 1.0 - (above - 1 + (threshold - low) / (high - low)) / (len(quantiles) - 1)
