"""How good a router is: quality against the share of prompts that go to the strong model.

The measures are RouteLLM's (https://arxiv.org/abs/2406.18665, section 2.2; `routellm/evals/evaluate.py` of 0.2.0). With
quality(s) the mean quality when a share s of prompts goes to the strong model:

- PGR(s), performance gap recovered, is (quality(s) - weak) / (strong - weak): 0 all weak, 1 all strong.
- APGR is the mean of PGR over s, 0.5 for a random router: the trapezoidal area over a sweep of thresholds.
- CPT(x), call-performance threshold, is the least share s with PGR(s) >= x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Quality at each threshold of a sweep, sorted by rising `strong_shares`.

    `thresholds` are win rates; a prompt at or above one goes to the strong model (above the highest: none does).
    `strong_shares` are in 0..1; `qualities` are in the units of the responses' scores. All have one shape, (points,).
    """

    thresholds: Float64
    strong_shares: Float64
    qualities: Float64
    weak_quality: float
    strong_quality: float

    @property
    def recovered(self) -> Float64:
        """PGR at each point. Not finite where the strong model is no better than the weak one."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.qualities - self.weak_quality) / np.float64(self.strong_quality - self.weak_quality)


def threshold_sweep(win_rates: npt.ArrayLike, strong: npt.ArrayLike, weak: npt.ArrayLike, bins: int = 10) -> Sweep:
    """Route by `win_rates` at thresholds that cut the prompts into `bins` equal parts, plus at both extremes.

    Args:
        win_rates: the router's score of each prompt.
        strong: the strong model's score (such as 1 for right) on each prompt.
        weak: the weak model's.
        bins: how many parts; RouteLLM uses 10, so eleven thresholds.

    Raises:
        ValueError: lengths differ, there is no prompt, a number is not finite, or `bins` is below 1.
    """
    scores, better, worse = checked(win_rates, strong, weak)
    if bins < 1:
        raise ValueError("bins must be at least 1")
    return sweep_at(np.quantile(scores, np.linspace(0, 1, bins + 1)), scores, better, worse)


def sweep_at(thresholds: Float64, win_rates: Float64, strong: Float64, weak: Float64) -> Sweep:
    """Route at each of `thresholds`, ascending, of which the last leaves every prompt to the weak model.

    RouteLLM's rule: at the highest threshold a prompt must lie above it, and nothing does.
    """
    chosen = win_rates >= thresholds[:, None]
    chosen[-1] = win_rates > thresholds[-1]
    shares, qualities = chosen.mean(1), np.where(chosen, strong, weak).mean(1)
    order = np.argsort(shares, kind="stable")
    return Sweep(thresholds[order], shares[order], qualities[order], float(weak.mean()), float(strong.mean()))


def checked(win_rates: npt.ArrayLike, strong: npt.ArrayLike, weak: npt.ArrayLike) -> tuple[Float64, Float64, Float64]:
    """The three as float64 arrays of one shape, (prompts,).

    Raises:
        ValueError: lengths differ, there is no prompt, or a number is not finite.
    """
    scores, better, worse = (np.asarray(values, np.float64) for values in (win_rates, strong, weak))
    if scores.ndim != 1 or not scores.size or not scores.shape == better.shape == worse.shape:
        raise ValueError("win_rates, strong and weak must be equally long, and not empty")
    if not all(np.isfinite(values).all() for values in (scores, better, worse)):
        raise ValueError("win_rates, strong and weak must be finite")
    return scores, better, worse


def apgr(sweep: Sweep) -> float:
    """Average performance gap recovered: 0.5 for a random router, higher is better, NaN where there is no gap."""
    gap = sweep.strong_quality - sweep.weak_quality
    if gap == 0:
        return float("nan")
    return float(np.trapezoid(sweep.qualities - sweep.weak_quality, sweep.strong_shares) / gap)


def quality_at_share(sweep: Sweep, share: float) -> float:
    """Quality, by linear interpolation, when `share` (0..1) of the prompts goes to the strong model."""
    return float(np.interp(share, sweep.strong_shares, sweep.qualities))


def call_performance_threshold(sweep: Sweep, recovered: float) -> float:
    """The least share (0..1) of strong calls that recovers this fraction of the gap; NaN where no share does."""
    curve = sweep.recovered
    above = np.flatnonzero(curve >= recovered)
    if not above.size:
        return float("nan")
    i = int(above[0])
    if i == 0:
        return float(sweep.strong_shares[0])
    return float(np.interp(recovered, curve[i - 1 : i + 1], sweep.strong_shares[i - 1 : i + 1]))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Prompts with similar scores: how many, their mean score, and how often the strong model won (a tie is half)."""

    count: int
    mean_score: float
    mean_target: float


def reliability(win_rates: npt.ArrayLike, targets: npt.ArrayLike, bins: int = 10) -> list[ReliabilityBin]:
    """Equally full bins in order of score; fewer than `bins` where there are fewer prompts."""
    scores, wins = np.asarray(win_rates, np.float64), np.asarray(targets, np.float64)
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    return [ReliabilityBin(len(part), float(scores[part].mean()), float(wins[part].mean())) for part in parts]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Expected calibration error: the bins' mean absolute gap between score and outcome, weighted by their size."""
    total = sum(part.count for part in bins)
    return sum(part.count * abs(part.mean_score - part.mean_target) for part in bins) / total


def log_loss(win_rates: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean cross-entropy in nats, for soft targets in 0..1; log 2 (0.693) for a constant score of one half."""
    scores = np.clip(np.asarray(win_rates, np.float64), 1e-7, 1 - 1e-7)
    wins = np.asarray(targets, np.float64)
    return float(-(wins * np.log(scores) + (1 - wins) * np.log(1 - scores)).mean())
