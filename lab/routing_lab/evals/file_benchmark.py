"""Your own benchmark: a file of prompts with scores, or of battles, without code.

    {"prompt": "…", "scores": {"gpt-4-1106-preview": 1, "mixtral-8x7b-instruct-v0.1": 0.5}}

It is read as `train` and `calibrate` read it (see `routing_service.rows`). A row need not score every model: rows
without one of the pair are left out, and counted.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from routing_lab.evals.benchmarks import Benchmark, BenchmarkData
from routing_lab.evals.metrics import Float64
from routing_service.asks.reader import AskReader
from routing_service.rows.formats import stem_of
from routing_service.rows.labels import COLUMNS, read_labels
from routing_service.rows.model_names import canonical_model
from routing_service.rows.reader import RowFile


@dataclass(frozen=True, slots=True)
class FileBenchmark(Benchmark):
    """Reads `path`. The benchmark is named after the file, without its suffixes."""

    path: Path
    asks: AskReader = field(default_factory=AskReader)

    def load(self, data: Path | None = None) -> BenchmarkData:  # noqa: ARG002 - it has a path of its own
        """Read every row.

        Raises:
            UsageError: the file cannot be read, or a row lacks its prompt or its scores; says which line.
        """
        file, prompts = RowFile(self.path, COLUMNS, asks=self.asks), list[str]()
        columns: dict[str, list[float]] = {}
        for row in read_labels(file):
            if not row.prompt.strip():
                continue
            for model, value in row.scores.items():
                columns.setdefault(model, [math.nan] * len(prompts)).append(value)
            prompts.append(row.prompt)
            for column in columns.values():
                if len(column) < len(prompts):
                    column.append(math.nan)
        if not prompts:
            raise file.no_use("they have no text")
        file.tell()
        name = stem_of(self.path)
        return BenchmarkData(
            name=name,
            title=name,
            unit="score",
            prompts=tuple(prompts),
            scores=_one_name_each({model: np.array(column) for model, column in columns.items()}),
            sparse=True,
            files={self.path.name: hashlib.sha256(self.path.read_bytes()).hexdigest()},
        )


def _one_name_each(columns: dict[str, Float64]) -> dict[str, Float64]:
    """The columns of one model that rows spell in several ways become one, under the first spelling.

    Where a row scores two spellings they stay apart, so that whoever means one of them must say which.
    """
    spellings: dict[str, list[str]] = {}
    for name in columns:
        spellings.setdefault(canonical_model(name), []).append(name)
    found = {}
    for names in spellings.values():
        together = np.stack([columns[name] for name in names])
        scored = np.isfinite(together)
        if (scored.sum(axis=0) > 1).any():
            found.update({name: columns[name] for name in names})
        else:
            found[names[0]] = np.where(scored.any(axis=0), np.nansum(together, axis=0), math.nan)
    return found
