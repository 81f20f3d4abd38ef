"""The exact curve of quality against strong calls, the best curve there can be, and how sure either is.

A sweep of ten quantile bins, as in RouteLLM, shows eleven points of the curve. Here every distinct score is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from routing_lab.evals.metrics import Float64, Sweep, checked

CPT_LEVELS = (0.2, 0.5, 0.8)
BAND_SHARES = np.linspace(0, 1, 101)


def full_curve(win_rates: npt.ArrayLike, strong: npt.ArrayLike, weak: npt.ArrayLike) -> Sweep:
    """Quality at every threshold that matters: one point for each distinct score, and the weak model alone.

    Prompts with equal scores go to the strong model together. Between two points a router can only draw lots among
    them, and its expected quality is on the straight line: so the trapezoidal area is the mean over random tie-breaks.

    Args:
        win_rates: the router's score of each prompt, (prompts,).
        strong: the strong model's score on each prompt, (prompts,), in any unit.
        weak: the weak model's.

    Returns:
        By rising share of strong calls; the first threshold is infinity, as nothing lies above it.

    Raises:
        ValueError: lengths differ, there is no prompt, or a number is not finite.
    """
    ranked = _rank(win_rates, strong, weak)
    counts = np.concatenate([[0], ranked.ends + 1])
    gains = np.concatenate([[0.0], np.cumsum(ranked.gains)[ranked.ends]])
    total = len(ranked.gains)
    return Sweep(
        np.concatenate([[np.inf], ranked.scores[ranked.ends]]),
        counts / total,
        ranked.weak_quality + gains / total,
        ranked.weak_quality,
        ranked.strong_quality,
    )


def optimal_curve(strong: npt.ArrayLike, weak: npt.ArrayLike) -> Sweep:
    """The curve of a router that knows what either model will score: prompts in order of what the strong one adds.

    No router can be above it at any share. Its thresholds are gains in score, not win rates.

    Raises:
        ValueError: as for `full_curve`.
    """
    return full_curve(np.asarray(strong, np.float64) - np.asarray(weak, np.float64), strong, weak)


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, both included; NaN where the data cannot bound it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """Percentile intervals over resamples of the prompts.

    `apgr` and `cpt` (by level) are those of the exact curve, NaN when too many resamples have no gap between the models
    to recover. `gap` is that of strong minus weak, in the scores' unit. `band_low` and `band_high` bound the quality at
    each of `shares`, pointwise, relative to a random router on the same prompts: how hard the prompts of a resample
    happen to be moves a router and chance alike, and says nothing of the router. They are laid around the random line
    of the whole sample.
    """

    apgr: Interval
    cpt: dict[float, Interval]
    gap: Interval
    shares: Float64
    band_low: Float64
    band_high: Float64
    level: float
    resamples: int
    seed: int


def bootstrap(
    win_rates: npt.ArrayLike,
    strong: npt.ArrayLike,
    weak: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> BootstrapResult:
    """Intervals of APGR, CPT and the curve, by drawing as many prompts, with replacement, `resamples` times.

    Args:
        win_rates: the router's score of each prompt, (prompts,); of a router of chance, those of each run,
            (runs, prompts), and the resamples take turns among the runs.
        strong: the strong model's score on each prompt, (prompts,).
        weak: the weak model's.
        resamples: how many draws; 1,000 settle a 95 % interval to about its second digit.
        seed: the same seed gives the same intervals, and the same draws for every router on these prompts.
        level: what share of the resamples lies within, between 0 and 1.

    Raises:
        ValueError: as for `full_curve`, or `resamples` or `level` is out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError("resamples must be at least 1, and level between 0 and 1")
    runs = [_rank(run, strong, weak) for run in np.atleast_2d(np.asarray(win_rates, np.float64))]
    total, rng = len(runs[0].gains), np.random.default_rng(seed)
    gaps, apgrs = np.empty(resamples), np.empty(resamples)
    cpts = np.empty((resamples, len(CPT_LEVELS)))
    excess = np.empty((resamples, len(BAND_SHARES)))
    for draw in range(resamples):
        ranked = runs[draw % len(runs)]
        weights = np.bincount(rng.integers(0, total, total), minlength=total)[ranked.order]
        counts = np.concatenate([[0], np.cumsum(weights)[ranked.ends]])
        gains = np.concatenate([[0.0], np.cumsum(weights * ranked.gains)[ranked.ends]])
        shares, gaps[draw] = counts / total, gains[-1] / total
        excess[draw] = np.interp(BAND_SHARES, shares, gains) / total - BAND_SHARES * gaps[draw]
        with np.errstate(divide="ignore", invalid="ignore"):
            recovered = gains / gains[-1]
            apgrs[draw] = np.trapezoid(recovered, shares)
            cpts[draw] = [first_crossing(shares, recovered, x) for x in CPT_LEVELS]
    gap = ranked.strong_quality - ranked.weak_quality
    # A ratio whose denominator may be 0, or of either sign, has no bounded interval.
    usable = gaps * np.sign(gap) > 0
    bounded = gap != 0 and (~usable).mean() <= (1 - level) / 2
    tails = np.array([(1 - level) / 2, (1 + level) / 2])

    def interval(values: Float64) -> Interval:
        return Interval(*map(float, np.quantile(values, tails))) if np.isfinite(values).all() else _UNBOUNDED

    line = ranked.weak_quality + BAND_SHARES * gap
    low, high = np.quantile(excess, tails, axis=0)
    return BootstrapResult(
        apgr=interval(apgrs[usable]) if bounded else _UNBOUNDED,
        cpt={x: interval(cpts[usable, i]) if bounded else _UNBOUNDED for i, x in enumerate(CPT_LEVELS)},
        gap=interval(gaps),
        shares=BAND_SHARES,
        band_low=line + low,
        band_high=line + high,
        level=level,
        resamples=resamples,
        seed=seed,
    )


def first_crossing(shares: Float64, recovered: Float64, level: float) -> float:
    """The least share at which `recovered` reaches `level`, linear between points; NaN where it never does."""
    above = recovered >= level
    i = int(above.argmax())
    if not above[i]:
        return float("nan")
    if i == 0:
        return float(shares[0])
    step = (level - recovered[i - 1]) / (recovered[i] - recovered[i - 1])
    return float(shares[i - 1] + step * (shares[i] - shares[i - 1]))


_UNBOUNDED = Interval(float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Prompts by falling score: their `order`, `scores`, the strong model's `gains`, and each distinct score's last."""

    order: npt.NDArray[np.intp]
    scores: Float64
    gains: Float64
    ends: npt.NDArray[np.intp]
    weak_quality: float
    strong_quality: float


def _rank(win_rates: npt.ArrayLike, strong: npt.ArrayLike, weak: npt.ArrayLike) -> _Ranked:
    scores, better, worse = checked(win_rates, strong, weak)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    return _Ranked(order, ordered, (better - worse)[order], ends, float(worse.mean()), float(better.mean()))
