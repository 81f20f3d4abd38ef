"""Thresholds between the points of a calibration table, and their intervals."""

from __future__ import annotations

from bisect import bisect_left
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The standard normal quantile that leaves 2.5 % on either side.
_Z = 1.959963984540054


def interpolate(strong_share: float, points: Sequence[tuple[float, float]]) -> float:
    """The threshold at `strong_share`, linear between (share, threshold) points, with the ends (0, 1.0) and (1, 0.0).

    Raises:
        ValueError: The share is NaN or outside 0..1.
    """
    if not 0.0 <= strong_share <= 1.0:
        raise ValueError("a strong share must be a number from 0 to 1")
    inner = sorted(point for point in points if 0.0 < point[0] < 1.0)
    curve = [(0.0, 1.0), *inner, (1.0, 0.0)]
    above = bisect_left(curve, strong_share, key=lambda point: point[0])
    share, threshold = curve[above]
    if share == strong_share:
        return threshold
    share_below, threshold_below = curve[above - 1]
    weight = (strong_share - share_below) / (share - share_below)
    return threshold_below + weight * (threshold - threshold_below)


def share_interval(share: float, sample_size: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share in 0..1 that was counted on this many prompts, at least one."""
    weight = _Z**2 / sample_size
    centre = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * sqrt(share * (1 - share) / sample_size + weight / (4 * sample_size))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
