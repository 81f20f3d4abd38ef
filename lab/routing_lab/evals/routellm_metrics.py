"""RouteLLM's own figures, by its own formulas (`routellm/evals/evaluate.py` and `benchmarks.py` of 0.2.0).

They are here to be compared with published ones. Where they are coarse or odd they are kept so, and `curves` has what
should be read instead:

- Ten quantile bins show eleven points of the curve. Thresholds are pandas' `qcut` edges, whose levels are rounded up
  where binary fractions cannot hold them: that decides whether a score that an edge falls on is above it.
- CPT interpolates with `np.interp` over the points' *qualities*, which must ascend for that to be right and need not: a
  curve that dips gives any share at which it crosses, or none of them.
- A router of chance is scored several times, and points with equal shares are averaged before anything is computed.

In one thing we differ. `qcut` refuses scores of which so many are equal that two edges fall together, so that RouteLLM
stops with an error. Here such edges are kept: the points between them coincide and have no area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from routing_lab.evals.metrics import Float64, Sweep, apgr, checked, sweep_at

CPT_LEVELS = (0.2, 0.5, 0.8)


@dataclass(frozen=True, slots=True)
class RouteLLMMetrics:
    """What RouteLLM prints for a router.

    `sweep` are its points; `cpt` the share of strong calls, in 0..1, that recovers each of `CPT_LEVELS` of the gap;
    `auc` the area under quality over share, in the scores' unit; `apgr` has no unit. NaN where there is no gap.
    """

    sweep: Sweep
    cpt: dict[float, float]
    auc: float
    apgr: float


def routellm_metrics(
    draws: npt.ArrayLike, strong: npt.ArrayLike, weak: npt.ArrayLike, bins: int = 10
) -> RouteLLMMetrics:
    """RouteLLM's figures for a router.

    Args:
        draws: win rates of each prompt, (prompts,), or of each run of a router of chance, (runs, prompts).
        strong: the strong model's score on each prompt, (prompts,).
        weak: the weak model's.
        bins: thresholds less one, RouteLLM's `--num-results`.

    Raises:
        ValueError: lengths differ, there is no prompt, a number is not finite, or `bins` is below 1.
    """
    if bins < 1:
        raise ValueError("bins must be at least 1")
    sweep = _merged([_sweep(draw, strong, weak, bins) for draw in np.atleast_2d(np.asarray(draws, np.float64))])
    gap = sweep.strong_quality - sweep.weak_quality
    targets = [sweep.weak_quality + level * gap for level in CPT_LEVELS]
    crossed = np.interp(targets, sweep.qualities, sweep.strong_shares) if gap else [float("nan")] * len(targets)
    return RouteLLMMetrics(
        sweep,
        dict(zip(CPT_LEVELS, map(float, crossed), strict=True)),
        float(np.trapezoid(sweep.qualities, sweep.strong_shares)),
        apgr(sweep),
    )


def _sweep(draw: Float64, strong: npt.ArrayLike, weak: npt.ArrayLike, bins: int) -> Sweep:
    scores, better, worse = checked(draw, strong, weak)
    return sweep_at(np.quantile(scores, _qcut_levels(bins)), scores, better, worse)


def _qcut_levels(bins: int) -> Float64:
    levels = np.linspace(0, 1, bins + 1)
    inexact = bins * levels != np.arange(bins + 1)
    return np.where(inexact, np.nextafter(levels, 1), levels)


def _merged(sweeps: list[Sweep]) -> Sweep:
    if len(sweeps) == 1:
        return sweeps[0]
    shares, place = np.unique(np.concatenate([sweep.strong_shares for sweep in sweeps]), return_inverse=True)
    counts = np.bincount(place)

    def mean(values: list[Float64]) -> Float64:
        return np.asarray(np.bincount(place, np.concatenate(values)) / counts, np.float64)

    return Sweep(
        mean([sweep.thresholds for sweep in sweeps]),
        shares,
        mean([sweep.qualities for sweep in sweeps]),
        sweeps[0].weak_quality,
        sweeps[0].strong_quality,
    )
