"""What an `mf` training says of itself: validation metrics, the calibration table, the closing report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routing_lab.data.battles import Battle
from routing_lab.evals import metrics
from routing_lab.training.mf.battle_set import BattleSet
from routing_lab.training.report import (
    QUANTILE_LEVELS,
    RESAMPLES,
    Float64,
    apgr_intervals,
    by_source,
    closing_lines,
    mean_with_interval,
    serving_config,
    shown,
    traffic_quantiles,
)
from routing_service.artifacts.manifest import CalibrationTable, Manifest


@dataclass(frozen=True, slots=True)
class MatrixFactorizationReport:
    """What came of a training: the folder, its manifest, its battles, and the epoch after which it was resumed.

    `battles` counts those that were learnt from and those that validate; `resumed` is 0 for a training that was not
    interrupted.
    """

    output: Path
    manifest: Manifest
    battles: int
    resumed: int

    @property
    def revision(self) -> str:
        """The artifact's."""
        return self.manifest.revision

    @property
    def metrics(self) -> dict[str, Any]:
        """The manifest's."""
        return self.manifest.metrics

    @property
    def config(self) -> str:
        """The configuration that serves the artifact: three lines of YAML."""
        return serving_config("mf", self.output)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "output": str(self.output),
            "revision": self.revision,
            "battles": self.battles,
            "models": self.manifest.options["model_ids"],
            "resumed_after_epoch": self.resumed,
            "benchmarks": self.manifest.provenance.get("benchmarks", {}),
            "metrics": self.metrics,
            "config": self.config,
        }

    def __str__(self) -> str:
        """For people: where the artifact is, how good it is on prompts that it has not seen, and how to serve it."""
        found, validation = self.metrics, self.metrics["validation"]
        resumed = f", resumed after epoch {self.resumed}" if self.resumed else ""
        lines = [
            f"{self.output}: revision {self.revision}, learnt from {self.battles - validation['battles']:,} battles of "
            f"{len(self.manifest.options['model_ids'])} models{resumed}; best after epoch {found['best_epoch']} of "
            f"{found['epochs']}",
            f"validation on {validation['battles']:,} battles over {validation['prompts']:,} prompts: accuracy "
            f"{shown(validation['accuracy'])} without ties, log loss {shown(validation['log_loss'])} (chance: 0.693)",
        ]
        pair = " against ".join(self.manifest.models or ())
        if not found["by_source"]:
            lines.append(f"no validation battle is between {pair}, so nothing was measured for the pair itself")
        lines += [
            f"  {name}: APGR {shown(each['apgr'])}, log loss {each['log_loss']:.3f} (a constant: "
            f"{each['log_loss_of_constant']:.3f}), calibration error {each['calibration_error']:.3f}; {pair}, "
            f"{each['battles']:,} battles"
            for name, each in found["by_source"].items()
        ]
        benchmarks = self.manifest.provenance.get("benchmarks", {})
        return "\n".join([*lines, *closing_lines(benchmarks, "battles", self.config)])


def validation_metrics(battles: BattleSet, logits: Float64, seed: int) -> dict[str, Any]:
    """How good log-odds that a beats b, (battles,), are on the validation battles, with 95 % bootstrap intervals.

    `validation` is over all models, `by_source` over battles of the pair itself.
    """
    held_out = battles.arrays.take(battles.held_out)
    scores = logits[battles.held_out]
    outcomes = held_out.outcomes.astype(np.float64)
    decided = outcomes != 0.5
    right = ((scores > 0) == (outcomes > 0.5)).astype(np.float64)
    losses = np.logaddexp(0, scores) - outcomes * scores
    return {
        "note": "on prompts that were not learnt from, nor any near-duplicate; they did decide when to stop and the "
        "temperature, one number",
        "intervals": f"95 %, {RESAMPLES} bootstrap resamples of the prompts",
        "validation": {
            "battles": len(held_out),
            "prompts": len(np.unique(held_out.prompts)),
            "ties": round(float(1 - decided.mean()), 4),
            "accuracy": mean_with_interval(right[decided], held_out.weights[decided], held_out.prompts[decided], seed),
            "log_loss": mean_with_interval(losses, held_out.weights, held_out.prompts, seed),
        },
        "by_source": _pair_metrics(battles, logits, seed),
    }


def _pair_metrics(battles: BattleSet, logits: Float64, seed: int) -> dict[str, Any]:
    signs = battles.pair_signs()
    rows = np.flatnonzero(battles.held_out & (signs != 0))
    if not rows.size:
        return {}
    scores = 0.5 * (1 + np.tanh(0.5 * signs[rows] * logits[rows]))
    targets = np.where(signs[rows] > 0, battles.arrays.outcomes[rows], 1 - battles.arrays.outcomes[rows])
    targets = targets.astype(np.float64)
    sources = [battles.rows[row].source for row in rows]
    apgr = apgr_intervals(sources, targets, scores, seed)
    found = {}
    for name, chosen in by_source(np.array(sources)).items():
        rates, wins = scores[chosen], targets[chosen]
        found[name] = {
            "battles": int(chosen.sum()),
            "mean_target": round(float(wins.mean()), 4),
            "apgr": apgr[name],
            "log_loss": round(metrics.log_loss(rates, wins), 5),
            "log_loss_of_constant": round(metrics.log_loss(np.full(len(wins), wins.mean()), wins), 5),
            "calibration_error": round(metrics.calibration_error(metrics.reliability(rates, wins)), 4),
        }
    return found


def calibration_table(rows: Sequence[Battle], win_rates: Float64) -> CalibrationTable:
    """The artifact's table: quantiles of the pair's win rates, (battles,), over the prompts of validation battles."""
    quantiles, mixture, size = traffic_quantiles(rows, win_rates)
    text = f"win rates at {QUANTILE_LEVELS} evenly spaced levels of a mixture of validation prompts: {mixture}"
    return CalibrationTable(text, size, quantiles)
