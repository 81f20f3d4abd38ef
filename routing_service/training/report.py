"""What a training says of itself: cross-validated metrics by source, and the quantiles of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.evals import metrics
from routing_service.training.examples import Example
from routing_service.training.sources import source_of

QUANTILE_LEVELS = 1001
Float64 = npt.NDArray[np.float64]


def benchmark_metrics(
    examples: Sequence[Example], win_rates: Float64, folds: npt.NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Metrics of out-of-fold `win_rates` for each source that scores the model pair itself, and for all of them."""
    targets = np.array([example.target for example in examples])
    sources = np.array([example.source for example in examples])
    real = [str(name) for name in sorted(set(sources)) if source_of(str(name)).calibrates]
    groups = {name: sources == name for name in real}
    groups["all"] = np.isin(sources, real)
    return {name: _metrics(win_rates[rows], targets[rows], folds[rows]) for name, rows in groups.items() if rows.any()}


def _metrics(win_rates: Float64, targets: Float64, folds: npt.NDArray[np.int64]) -> dict[str, Any]:
    by_fold = [_apgr(win_rates[folds == fold], targets[folds == fold]) for fold in np.unique(folds)]
    bins = metrics.reliability(win_rates, targets)
    return {
        "prompts": len(targets),
        "mean_target": round(float(targets.mean()), 4),
        "apgr_pooled": _rounded(_apgr(win_rates, targets)),
        "apgr_by_fold": [_rounded(value) for value in by_fold],
        "apgr_mean_of_folds": _rounded(float(np.mean(by_fold))),
        "log_loss": round(metrics.log_loss(win_rates, targets), 5),
        "log_loss_of_constant": round(metrics.log_loss(np.full(len(targets), targets.mean()), targets), 5),
        "calibration_error": round(metrics.calibration_error(bins), 4),
        "reliability": [[part.count, round(part.mean_score, 4), round(part.mean_target, 4)] for part in bins],
    }


def _apgr(win_rates: Float64, targets: Float64) -> float:
    # A target is half the gap in score plus one half, so a target and its complement have the models' gap.
    return metrics.apgr(metrics.threshold_sweep(win_rates, targets, 1 - targets))


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def traffic_quantiles(examples: Sequence[Example], win_rates: Float64) -> tuple[tuple[float, ...], str, int]:
    """The scores at `QUANTILE_LEVELS` levels of a mixture of sources, what the mixture is, and its number of prompts.

    Each source counts by its `traffic`, however many prompts it has; a prompt that comes twice counts once.
    """
    first_rows = {(example.source.split("/", 1)[0], example.prompt): row for row, example in enumerate(examples)}
    names = np.array([name for name, _ in first_rows])
    rows = np.array(list(first_rows.values()))
    shares = {str(name): source_of(str(name)).traffic for name in np.unique(names)}
    if not any(shares.values()):
        shares = dict.fromkeys(shares, 1.0)
    total = sum(shares.values())
    mass = np.zeros(len(rows))
    for name, share in shares.items():
        mass[names == name] = share / total / (names == name).sum()
    rows, mass = rows[mass > 0], mass[mass > 0]
    order = np.argsort(win_rates[rows], kind="stable")
    scores, mass = win_rates[rows][order], mass[order]
    # Levels of the prompts: 0 for the lowest score, 1 for the highest, in between by the mass that lies below.
    below = np.cumsum(mass) - mass
    levels = below / below[-1] if below[-1] > 0 else np.zeros(len(below))
    quantiles = np.interp(np.linspace(0, 1, QUANTILE_LEVELS), levels, scores)
    mixture = ", ".join(f"{share / total:.0%} {name}" for name, share in shares.items() if share > 0)
    return tuple(round(float(value), 6) for value in quantiles), mixture, len(scores)
