"""What a fine-tuning says of itself: how good its win rates are on the validation prompts, and the closing report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.evals import curves, metrics
from routing_lab.training.finetune.labels import Float64, Ties, win_probabilities
from routing_lab.training.finetune.state import RunState
from routing_lab.training.report import (
    QUANTILE_LEVELS,
    RESAMPLES,
    apgr_intervals,
    closing_lines,
    mean_with_interval,
    serving_config,
    shown,
    traffic_quantiles,
    with_interval,
)
from routing_service.artifacts.manifest import CalibrationTable, Manifest


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """What came of a fine-tuning: the folder, its manifest, the rows learnt from, and the update it was resumed after.

    `resumed` is 0 for a training that was not interrupted.
    """

    output: Path
    manifest: Manifest
    training_rows: int
    resumed: int

    @property
    def config(self) -> str:
        """The configuration that serves the artifact: three lines of YAML."""
        return serving_config(self.manifest.type, self.output)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "output": str(self.output),
            "revision": self.manifest.revision,
            "training_rows": self.training_rows,
            "resumed_after_update": self.resumed,
            "benchmarks": self.manifest.provenance.get("benchmarks", {}),
            "metrics": self.manifest.metrics,
            "config": self.config,
        }

    def __str__(self) -> str:
        """For people: where the artifact is, how good it is on prompts that it has not seen, and how to serve it."""
        run, found = self.manifest.metrics["run"], self.manifest.metrics["validation"]
        resumed = f", resumed after update {self.resumed}" if self.resumed else ""
        lines = [
            f"{self.output}: revision {self.manifest.revision}, trained on {self.training_rows:,} rows{resumed}; best "
            f"after update {run['best_update']:,} of {run['updates']:,}",
            f"validation on {found['rows']:,} rows: APGR {shown(found['apgr'])}, CPT(50 %) {shown(found['cpt_50'])}, "
            f"log loss {shown(found['log_loss'])} (a constant: {found['log_loss_of_constant']:.3f}), calibration error "
            f"{found['calibration_error']:.3f}",
        ]
        by_source = found["apgr_by_source"].items() if len(found["apgr_by_source"]) > 2 else ()
        lines += [f"  {name}: APGR {shown(numbers)}" for name, numbers in by_source]
        benchmarks = self.manifest.provenance.get("benchmarks", {})
        return "\n".join([*lines, *closing_lines(benchmarks, "rows", self.config)])


def run_metrics(best: RunState) -> dict[str, Any]:
    """The manifest's record of how the run went."""
    return {
        "updates": int(best.history[-1][0]),
        "best_update": best.best_step,
        "validation_loss": round(best.best_loss or 0.0, 6),
        "history": [[int(step), training, validation] for step, training, validation in best.history],
        "history_columns": ["update", "training_loss", "validation_loss"],
    }


def validation_metrics(examples: Sequence[Example], win_rates: npt.ArrayLike, ties: Ties, seed: int) -> dict[str, Any]:
    """How good win rates are, with 95 % bootstrap intervals over the prompts.

    Args:
        examples: the validation rows.
        win_rates: the win rate of each, (rows,).
        ties: what a tie counts for in these win rates; calibration is measured against the same.
        seed: of the bootstrap.
    """
    scores = np.asarray(win_rates, np.float64)
    targets = np.array([example.target for example in examples])
    wanted = win_probabilities(targets, ties)
    prompts = np.unique([example.prompt for example in examples], return_inverse=True)[1]
    everyone = np.ones(len(examples))
    # A target is half the gap in score plus one half, so a target and its complement have the models' gap.
    curve = curves.full_curve(scores, targets, 1 - targets)
    intervals = curves.bootstrap(scores, targets, 1 - targets, resamples=RESAMPLES, seed=seed)
    return {
        "note": "on prompts that were not learnt from, nor any near-duplicate; they did decide when to stop",
        "rows": len(examples),
        "prompts": len(set(prompts.tolist())),
        "intervals": f"value, low, high: 95 %, {RESAMPLES} bootstrap resamples",
        "apgr": with_interval(metrics.apgr(curve), intervals.apgr),
        "cpt_50": with_interval(metrics.call_performance_threshold(curve, 0.5), intervals.cpt[0.5]),
        "apgr_by_source": apgr_intervals([example.source for example in examples], targets, scores, seed),
        "log_loss": mean_with_interval(_log_losses(scores, wanted), everyone, prompts, seed),
        "log_loss_of_constant": round(float(_log_losses(np.full(len(wanted), wanted.mean()), wanted).mean()), 5),
        "calibration_error": round(metrics.calibration_error(metrics.reliability(scores, wanted)), 4),
        "mean_win_rate": round(float(scores.mean()), 4),
        "mean_outcome": round(float(wanted.mean()), 4),
        "ties": ties.value,
    }


def validation_calibration(examples: Sequence[Example], win_rates: npt.ArrayLike) -> CalibrationTable:
    """The artifact's table: quantiles of the win rates of the validation prompts."""
    quantiles, mixture, size = traffic_quantiles(examples, np.asarray(win_rates, np.float64))
    text = f"win rates at {QUANTILE_LEVELS} evenly spaced levels of validation prompts: {mixture}"
    return CalibrationTable(text, size, quantiles)


def _log_losses(scores: Float64, wanted: Float64) -> Float64:
    kept = np.clip(scores, 1e-7, 1 - 1e-7)
    losses: Float64 = -(wanted * np.log(kept) + (1 - wanted) * np.log(1 - kept))
    return losses
