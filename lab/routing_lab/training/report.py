"""What a training says of itself: metrics by source, with intervals, and the quantiles of its scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.data.sources import source_of
from routing_lab.evals import curves, metrics

QUANTILE_LEVELS = 1001
RESAMPLES = 1000
Float64 = npt.NDArray[np.float64]


class Row(Protocol):
    """What an example and a battle have in common."""

    @property
    def prompt(self) -> str: ...
    @property
    def source(self) -> str: ...


def benchmark_metrics(
    examples: Sequence[Example], win_rates: Float64, folds: npt.NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Metrics of out-of-fold `win_rates` for each source that scores the model pair itself, and for all of them."""
    targets = np.array([example.target for example in examples])
    groups = by_source(np.array([example.source for example in examples]))
    return {name: _metrics(win_rates[rows], targets[rows], folds[rows]) for name, rows in groups.items()}


def apgr_intervals(
    sources: Sequence[str], targets: Float64, win_rates: Float64, seed: int
) -> dict[str, list[float | None]]:
    """The exact APGR and its 95 % bootstrap interval, low and high, for each source that scores the pair, and for all.

    None where there is no gap between the models, or the data cannot bound it.
    """
    names = np.array(sources)
    return {
        name: with_interval(
            metrics.apgr(curves.full_curve(win_rates[rows], targets[rows], 1 - targets[rows])),
            curves.bootstrap(win_rates[rows], targets[rows], 1 - targets[rows], resamples=RESAMPLES, seed=seed).apgr,
        )
        for name, rows in by_source(names).items()
    }


def by_source(sources: npt.NDArray[np.str_]) -> dict[str, npt.NDArray[np.bool_]]:
    """The rows of each source that scores the model pair itself, and of all of them as `all`."""
    real = [str(name) for name in sorted(set(sources)) if source_of(str(name)).calibrates]
    groups = {name: sources == name for name in real} | {"all": np.isin(sources, real)}
    return {name: rows for name, rows in groups.items() if rows.any()}


def mean_with_interval(
    values: Float64, weights: Float64, prompts: npt.NDArray[np.int64], seed: int
) -> list[float | None]:
    """A weighted mean and its 95 % bootstrap interval, low and high, by drawing whole prompts.

    Args:
        values: (rows,).
        weights: (rows,), not all 0.
        prompts: the number of the prompt of each row, (rows,): rows of one prompt are not independent.
        seed: of the bootstrap.
    """
    _, group = np.unique(prompts, return_inverse=True)
    sums, masses = np.bincount(group, values * weights), np.bincount(group, weights)
    rng, count = np.random.default_rng(seed), len(sums)
    draws = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, count, count)
        draws.append(sums[rows].sum() / max(masses[rows].sum(), 1e-300))
    low, high = np.quantile(draws, (0.025, 0.975))
    return with_interval(float(sums.sum() / masses.sum()), curves.Interval(float(low), float(high)))


def with_interval(value: float, interval: curves.Interval) -> list[float | None]:
    """A number and its interval's ends, rounded; None for what is not finite."""
    return [_rounded(number) for number in (value, interval.low, interval.high)]


def shown(numbers: Iterable[float | None]) -> str:
    """What `with_interval` gives, for people."""
    value, low, high = ("undefined" if number is None else f"{number:.3f}" for number in numbers)
    return f"{value} [{low}, {high}]"


def serving_config(kind: str, folder: Path) -> str:
    """The configuration that serves an artifact: three lines of YAML."""
    return (
        f"default_router: {kind}\nrouters:\n  {kind}: {{type: {kind}, artifact: {json.dumps(str(folder.resolve()))}}}"
    )


def closing_lines(benchmarks: Mapping[str, Mapping[str, Any]], what: str, config: str) -> list[str]:
    """How a report for people ends: what was done about benchmarks, counted in `what`, and how to serve it."""
    return [
        *(
            f"benchmark {name}: overlap {record['overlap']} ({record['overlapping_rows']:,} {what})"
            for name, record in benchmarks.items()
        ),
        "to serve it, put this into a file and give it to `routing-service serve --config`:",
        config,
    ]


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


def traffic_quantiles(examples: Sequence[Row], win_rates: Float64) -> tuple[tuple[float, ...], str, int]:
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
