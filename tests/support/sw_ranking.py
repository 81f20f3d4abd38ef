"""Small sets of battles with embeddings, in files of every kind, and their export."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export_onnx import sw_ranking
from tests.support.rows import Row, write_rows

MODELS = ("big", "middle", "small", "tiny")
DIMENSION = 8
SHORT = "Hi there"  # RouteLLM drops battles with prompts this short


def make_battles(count: int = 120, *, seed: int = 5, every_short: int = 7) -> list[Row]:
    """Battles between 4 models, `big` the strongest; every seventh has a short prompt."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        a, b = rng.choice(len(MODELS), 2, replace=False)
        outcome = 2 if rng.random() < 0.25 else int(rng.random() > 1 / (1 + 3.0 ** (a - b)))
        prompt = SHORT if every_short and number % every_short == 0 else f"  Prompt number {number}, long enough "
        rows.append(
            {
                "id": number,
                "model_a": MODELS[a],
                "model_b": MODELS[b],
                "prompt": json.dumps([prompt, "a second turn"]),
                **{
                    name: int(outcome == k) for k, name in enumerate(("winner_model_a", "winner_model_b", "winner_tie"))
                },
            }
        )
    return rows


def make_embeddings(battles: Sequence[Row], *, seed: int = 6) -> list[Row]:
    """A vector, not of unit length, for each battle with a long prompt."""
    rng = np.random.default_rng(seed)
    kept = [row for row in battles if len(json.loads(row["prompt"])[0].strip()) >= 16]
    vectors = rng.standard_normal((len(kept), DIMENSION), np.float32) + 0.5
    return [{"embeddings": vector.tolist()} for vector in vectors]


def write_data(folder: Path, battles: Sequence[Row] | None = None, suffix: str = ".jsonl") -> dict[str, list[str]]:
    """Battles and their embeddings in files; gives the options that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    battles = make_battles() if battles is None else battles
    files = {
        "battles": write_rows(folder / f"battles{suffix}", battles),
        "embeddings": write_rows(folder / f"embeddings{suffix}", make_embeddings(battles)),
    }
    return {name: [str(path)] for name, path in files.items()}


def export(output: Path, **options: Any) -> str:
    """What `export-onnx sw_ranking` does, with options by their names in Python; gives its report."""
    parser = argparse.ArgumentParser()
    sw_ranking.add_arguments(parser)
    given = parser.parse_args(["--battles", "given below", "--embeddings", "given below"])
    return sw_ranking.run(argparse.Namespace(**{**vars(given), "output": output, **options}))


def export_tiny(output: Path, **options: Any) -> Path:
    """An artifact of a few battles, `big` against `small`; gives its folder."""
    data = write_data(output.with_name(output.name + "-data"))
    export(output, **{"strong_model": "big", "weak_model": "small", "num_tiers": 3, **data, **options})
    return output
