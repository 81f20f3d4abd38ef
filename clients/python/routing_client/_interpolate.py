"""Thresholds between the points of a calibration table."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
