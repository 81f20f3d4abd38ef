"""Whether recent scores still look like those of a calibration table."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.intervals import Z_95, Interval, chi_square_95, wilson
from routing_service.calibration.thresholds import just_above, share_for_threshold, threshold_for_share

BINS = 10
# A score that has this share of the table is a bin of its own.
_OWN_BIN = 0.05
# How a population stability index is usually read (N. Siddiqi, Credit Risk Scorecards, 2006).
MODERATE_PSI = 0.1
MAJOR_PSI = 0.25
# A table that was computed and not counted has no sampling error.
_EXACT_SIZE = 10**9


class Reading(StrEnum):
    """The reading of a population stability index."""

    STABLE = "stable"
    """Below 0.1: the table is still right."""
    MODERATE = "moderate"
    """From 0.1: look at the shares, and calibrate again if they matter."""
    MAJOR = "major"
    """From 0.25: calibrate again."""
    INCONCLUSIVE = "inconclusive"
    """At least 0.1, but chance alone gives as much with so small samples: compare more prompts."""


class DriftBin(NamedTuple):
    """Scores from `low` to below `high` (in the last bin, to `high`), and the share of each side in it."""

    low: float
    high: float
    table_share: float
    recent_share: float


class DriftPoint(NamedTuple):
    """The share that the table's threshold gives on recent scores.

    `changed` says that it differs from the expected share by more than chance explains 95 times in 100
    for samples of these sizes: a test of two proportions, at 5 %.
    """

    strong_share: float
    threshold: float
    expected_share: float
    realized_share: float
    share_interval: Interval
    changed: bool


class Drift(NamedTuple):
    """A drift report. Without any drift, 95 of 100 samples of these sizes have a PSI below `psi_critical`."""

    sample_size: int
    psi: float
    psi_critical: float
    reading: Reading
    bins: tuple[DriftBin, ...]
    points: tuple[DriftPoint, ...]


def compare(table: CalibrationTable, recent: ScoreDistribution, strong_shares: Sequence[float]) -> Drift:
    """Compare recent scores with a table.

    PSI is the sum over bins of (recent - table) · ln(recent / table). The bins are tenths of the table; a score that
    at least 5 % of the table share is a bin of its own. Half a prompt is added to every bin on both sides:
    an empty bin then gives a finite number.

    Args:
        table: the table in use.
        recent: recent scores, at least one.
        strong_shares: the shares, in 0..1, to check the table's thresholds for.

    Raises:
        ValueError: there are no recent scores.
    """
    size = recent.size
    if not size:
        raise ValueError("there are no recent scores to compare")
    edges = _edges(table.quantiles)
    expected = _parts([share_for_threshold(table.quantiles, edge) for edge in edges])
    found = _parts([recent.share_at(edge) for edge in edges])
    table_size = table.sample_size or _EXACT_SIZE
    psi = 0.0
    for one, other in zip(expected, found, strict=True):
        before = (one * table_size + 0.5) / (table_size + 0.5 * len(expected))
        after = (other * size + 0.5) / (size + 0.5 * len(found))
        psi += (after - before) * math.log(after / before)
    # Without drift PSI is close to a chi-square variable times this (B. Yurdakul and J. Naranjo, 2020).
    critical = chi_square_95(max(1, len(expected) - 1)) * (1 / size + 1 / table_size)
    limits = [0.0, *edges, 1.0]
    bins = tuple(DriftBin(*row) for row in zip(limits[:-1], limits[1:], expected, found, strict=True))
    points = tuple(_point(table, table_size, recent, share) for share in strong_shares)
    return Drift(size, psi, critical, _reading(psi, critical), bins, points)


def _edges(quantiles: Sequence[float]) -> list[float]:
    """Scores that cut the table into tenths, and both ends of a score that many prompts have."""
    edges, last = set(), len(quantiles) - 1
    for tenth in range(1, BINS):
        position = tenth / BINS * last
        low, high = quantiles[int(position)], quantiles[min(int(position) + 1, last)]
        edges.add(low + (high - low) * (position - int(position)))
        begin, end = bisect_left(quantiles, low), bisect_right(quantiles, low) - 1
        if (end - begin) / last >= _OWN_BIN:
            edges |= {low, just_above(low, quantiles[end + 1] if end < last else 1.0)}
    return sorted(edge for edge in edges if 0.0 < edge <= 1.0)


def _parts(at_least: Sequence[float]) -> list[float]:
    """The share of each bin, from the shares at or above the edges between them."""
    ends = [1.0, *at_least, 0.0]
    return [max(0.0, ends[i] - ends[i + 1]) for i in range(len(ends) - 1)]


def _point(table: CalibrationTable, table_size: int, recent: ScoreDistribution, strong_share: float) -> DriftPoint:
    threshold = threshold_for_share(table.quantiles, strong_share)
    expected = share_for_threshold(table.quantiles, threshold)
    realized, size = recent.share_at(threshold), recent.size
    pooled = (expected * table_size + realized * size) / (table_size + size)
    spread = math.sqrt(max(0.0, pooled * (1 - pooled)) * (1 / size + 1 / table_size))
    changed = abs(realized - expected) > Z_95 * spread
    return DriftPoint(strong_share, threshold, expected, realized, wilson(realized, size), changed)


def _reading(psi: float, critical: float) -> Reading:
    if psi < MODERATE_PSI:
        return Reading.STABLE
    if psi <= critical:
        return Reading.INCONCLUSIVE
    return Reading.MODERATE if psi < MAJOR_PSI else Reading.MAJOR
