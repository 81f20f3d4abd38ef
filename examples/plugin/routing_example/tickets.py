"""A benchmark: support tickets that two models answered, and how many stars customers gave each answer."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from routing_lab.evals.benchmarks import Benchmark, BenchmarkData

from routing_service.errors import UsageError


class TicketsBenchmark(Benchmark):
    """Reads `tickets.csv`, with the columns `ticket` and one a model, in the folder that `--data` names."""

    def load(self, data: Path | None) -> BenchmarkData:
        """Read every ticket."""
        if data is None or not (data / "tickets.csv").is_file():
            raise UsageError("--benchmark tickets needs --data DIR, a folder with a tickets.csv")
        with (data / "tickets.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        models = [column for column in rows[0] if column != "ticket"]
        return BenchmarkData(
            name="tickets",
            title="Support tickets",
            unit="stars (1 to 5)",
            prompts=tuple(row["ticket"] for row in rows),
            scores={model: np.array([float(row[model]) for row in rows]) for model in models},
        )
