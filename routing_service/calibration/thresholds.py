"""Between thresholds and shares of strong decisions (RouteLLM, arXiv 2406.18665, section 4: threshold calibration)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# A threshold of 1 is the highest there is: it leaves only a win rate of exactly 1 to the strong model.
NOTHING_STRONG = 1.0
EVERYTHING_STRONG = 0.0


def threshold_for_share(quantiles: Sequence[float], strong_share: float) -> float:
    """The threshold that sends about `strong_share` (0..1) of traffic like the calibration sample to the strong model.

    `quantiles` are scores at evenly spaced levels from 0 to 1, ascending; between them the threshold is interpolated.
    """
    if strong_share <= 0.0:
        return NOTHING_STRONG
    if strong_share >= 1.0:
        return EVERYTHING_STRONG
    position = (1.0 - strong_share) * (len(quantiles) - 1)
    below = int(position)
    low, high = quantiles[below], quantiles[min(below + 1, len(quantiles) - 1)]
    return low + (high - low) * (position - below)


def share_at(scores: npt.ArrayLike, threshold: float) -> float:
    """The share of `scores` that are at least `threshold`, in 0..1."""
    return float(np.mean(np.asarray(scores) >= threshold))


def threshold_from_scores(scores: npt.ArrayLike, strong_share: float) -> tuple[float, float]:
    """The threshold whose share of strong decisions on `scores` is as close to `strong_share` as equal scores allow.

    Args:
        scores: win rates of a sample, one-dimensional, at least one, all finite.
        strong_share: the wanted share in 0..1.

    Returns:
        The threshold, half-way between two scores where it can be so that it survives rounding, and the share that it
        gives on the sample. Of two equally close shares the smaller, cheaper one is taken.
    """
    values, counts = np.unique(np.asarray(scores, dtype=np.float64), return_counts=True)
    if values.size == 0:
        raise ValueError("there are no scores to calibrate on")
    # shares[i]: what a threshold at values[i] gives; the last entry is a threshold above every score.
    shares = np.append(np.cumsum(counts[::-1])[::-1] / counts.sum(), 0.0)
    best = int(np.flatnonzero(np.isclose(np.abs(shares - strong_share), np.abs(shares - strong_share).min()))[-1])
    if best == 0:
        return EVERYTHING_STRONG, 1.0
    if best == values.size:
        return NOTHING_STRONG, share_at(scores, NOTHING_STRONG)
    below, above = float(values[best - 1]), float(values[best])
    middle = (below + above) / 2
    return middle if middle > below else above, float(shares[best])
