"""What a `static` training says of itself in the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from routing_lab.training.report import closing_lines, serving_config, shown


@dataclass(frozen=True, slots=True)
class StaticReport:
    """What came of a training.

    The folder, the artifact's revision, its examples, its cross-validated metrics, the exact APGR by source with the
    ends of its 95 % bootstrap interval, and what was done about benchmarks, by name.
    """

    output: Path
    revision: str
    examples: int
    metrics: dict[str, Any]
    intervals: dict[str, list[float | None]]
    benchmarks: dict[str, dict[str, Any]]

    @property
    def config(self) -> str:
        """The configuration that serves the artifact: three lines of YAML."""
        return serving_config("static", self.output)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "output": str(self.output), "config": self.config}

    def __str__(self) -> str:
        """A few lines for people: where the artifact is, and how good it is on prompts that it has not seen."""
        lines = [f"{self.output}: revision {self.revision}, trained on {self.examples} examples. Cross-validated:"]
        for name, found in self.metrics["by_source"].items():
            exact, folds = shown(self.intervals[name]), self.metrics["folds"]
            lines.append(
                f"  {name}: APGR {_shown(found['apgr_pooled'])} pooled, {exact} on the exact curve, "
                f"{_shown(found['apgr_mean_of_folds'])} mean of {folds} folds; log loss {found['log_loss']:.3f} (a "
                f"constant: {found['log_loss_of_constant']:.3f}), calibration error {found['calibration_error']:.3f}; "
                f"{found['prompts']} prompts"
            )
        return "\n".join([*lines, *closing_lines(self.benchmarks, "rows", self.config)])


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
