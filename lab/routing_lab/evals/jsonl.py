"""Your own benchmark: a JSON lines file of prompts and scores, without code.

    {"prompt": "…", "scores": {"gpt-4-1106-preview": 1, "mixtral-8x7b-instruct-v0.1": 0.5}}

Scores are numbers, or true and false for 1 and 0, in any unit in which more is better. A row need not score every
model: rows without one of the pair are left out, and counted. Other keys are passed over. The file may be gzipped.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routing_lab.evals.benchmarks import MAX_NAME_LENGTH, Benchmark, BenchmarkData
from routing_service.calibration.prompts import PROMPT_KEY, read_rows
from routing_service.errors import UsageError

SCORES_KEY = "scores"
SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
# Sums over prompts and differences of larger ones could overflow.
MAX_SCORE = 1e100
EXAMPLE = '{"prompt": "…", "scores": {"gpt-4": 1, "mixtral": 0}}'


@dataclass(frozen=True, slots=True)
class JsonLinesBenchmark(Benchmark):
    """Reads `path`. The benchmark is named after the file, without its suffixes."""

    path: Path

    def load(self, data: Path | None = None) -> BenchmarkData:  # noqa: ARG002 - it has a path of its own
        """Read every row.

        Raises:
            UsageError: the file cannot be read, or a row lacks its prompt or its scores; says which line.
        """
        prompts: list[str] = []
        columns: dict[str, list[float]] = {}
        for line, row in read_rows(self.path):
            if not row[PROMPT_KEY].strip():
                raise UsageError(f"{self.path}:{line}: the prompt is empty; write one, or remove the line")
            for model, value in self._scores(line, row).items():
                columns.setdefault(model, [math.nan] * len(prompts)).append(value)
            prompts.append(row[PROMPT_KEY])
            for column in columns.values():
                if len(column) < len(prompts):
                    column.append(math.nan)
        if not prompts:
            raise UsageError(f"{self.path}: has no rows; write one like {EXAMPLE} a line")
        name = self.path.name
        for suffix in sorted(SUFFIXES, key=len, reverse=True):
            name = name.removesuffix(suffix)
        return BenchmarkData(
            name=name,
            title=name,
            unit="score",
            prompts=tuple(prompts),
            scores={model: np.array(column) for model, column in columns.items()},
            sparse=True,
            files={self.path.name: hashlib.sha256(self.path.read_bytes()).hexdigest()},
        )

    def _scores(self, line: int, row: dict[str, Any]) -> dict[str, float]:
        scores = row.get(SCORES_KEY)
        if not isinstance(scores, dict) or not scores:
            raise UsageError(f"{self.path}:{line}: has no {SCORES_KEY!r} of models; write a row like {EXAMPLE}")
        found = {}
        for model, value in scores.items():
            if value is None:
                continue
            if not isinstance(value, int | float) or not abs(value) <= MAX_SCORE:  # NaN fails every comparison
                raise UsageError(
                    f"{self.path}:{line}: the score of {model[:MAX_NAME_LENGTH]!r} is no finite number of at most "
                    f"{MAX_SCORE:g}; write one, or leave the model out of the row"
                )
            found[model] = float(value)
        return found
