"""The files that the documents' commands name, small and made up."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from tests.support import mf
from tests.support.rows import write_rows
from tests.support.sw_ranking import DIMENSION, make_battles, make_embeddings

ROOT = Path(__file__).resolve().parents[2]
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
# As RouteLLM's folders have it.
WEAK_COLUMN = "mistralai/Mixtral-8x7B-Instruct-v0.1"
SUBJECTS = ("birds", "bridges", "tides", "triangles", "verbs", "wheat", "jazz", "rivers", "maps", "bread")
ASKS = ("Prove a theorem about {}.", "Write a poem about {}.", "What are {}?", "Summarise the history of {}.")


class HashedVectors(dict[str, Sequence[float]]):
    """A vector for every text."""

    def __missing__(self, text: str) -> list[float]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        return [float(number) for number in np.random.default_rng(seed).standard_normal(DIMENSION)]


def prompts(count: int) -> list[str]:
    """Different prompts."""
    return [f"{ASKS[n % 4].format(SUBJECTS[n // 4 % 10])} Version {n}." for n in range(count)]


def labelled(count: int) -> list[dict[str, Any]]:
    """Rows with both models' scores; the weak model is right on half of the prompts, the strong one on nearly all."""
    rng = np.random.default_rng(3)
    return [
        {"prompt": prompt, "scores": {STRONG: int(rng.random() < 0.9), WEAK: int(rng.random() < 0.5)}}
        for prompt in prompts(count)
    ]


def make_data(folder: Path) -> None:
    """Fill the folder that stands in for a checkout, and what lies beside it."""
    for name in ("examples", "clients", "lab", "gateway", "benchmarks", "pyproject.toml", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    plain = [{"prompt": prompt} for prompt in prompts(100)]
    for name in ("prompts.jsonl", "prompts.log"):
        _write_lines(folder / name, plain)
    manifest = json.loads((DEFAULT_ARTIFACT / "manifest.json").read_text(encoding="utf-8"))
    quantiles = manifest["calibration"]["quantiles"]
    _write_lines(folder / "yesterday.jsonl", [{"prompt": "x", "strong_win_rate": rate} for rate in quantiles])
    for name in ("labelled.jsonl", "tickets.jsonl"):
        _write_lines(folder / name, labelled(300))
    (folder / "routing.yaml").write_text(
        "routers:\n  static: {type: static}\n  mf: {type: random, seed: 1}\n"
        f"models: {{strong: {STRONG}, weak: {WEAK}}}\n"
    )
    _make_evals(folder / "RouteLLM" / "routellm" / "evals")
    (folder.parent / "shared" / "data").mkdir(parents=True)
    (folder.parent / "shared" / "data" / "routellm_evals").symlink_to(folder / "RouteLLM" / "routellm" / "evals")
    (folder / "my-tickets").mkdir()
    _write_csv(folder / "my-tickets" / "tickets.csv", [["ticket", "big", "small"], *_stars(40)])
    mf.write_checkpoint(folder / "routellm" / "mf_gpt4_augmented", ids=(STRONG, WEAK, "other", "another"))
    battles = make_battles()
    names = {"big": STRONG, "small": WEAK}
    for row in battles:
        row |= {key: names.get(row[key], row[key]) for key in ("model_a", "model_b")}
    write_rows(folder / "battles.parquet", battles)
    write_rows(folder / "vectors.parquet", make_embeddings(battles))


def _stars(count: int) -> list[list[object]]:
    rng = np.random.default_rng(4)
    return [[prompt, int(rng.integers(3, 6)), int(rng.integers(1, 5))] for prompt in prompts(count)]


def _make_evals(folder: Path) -> None:
    """RouteLLM's benchmarks, with few prompts each, in its layout."""
    header = ["prompt", WEAK_COLUMN, STRONG]
    rows = [[row["prompt"], bool(row["scores"][WEAK]), bool(row["scores"][STRONG])] for row in labelled(120)]
    _write_csv(folder / "mmlu" / "responses" / "mmlu_anatomy.csv", [header, *rows[:60]])
    _write_csv(folder / "gsm8k" / "gsm8k_responses.csv", [header, *rows[60:]])
    questions = [{"question_id": n, "turns": [prompt, "And why?"]} for n, prompt in enumerate(prompts(40))]
    _write_lines(folder / "mt_bench" / "question.jsonl", questions)
    grades = [
        {"question_id": n, "model": model, "turn": turn, "score": (n + turn) % 3 + best}
        for n in range(40)
        for turn in (1, 2)
        for model, best in ((STRONG, 7), (WEAK_COLUMN, 6))
    ]
    _write_lines(folder / "mt_bench" / "judgements.jsonl", grades)
    for benchmark in ("mmlu", "gsm8k", "mt_bench"):
        _write_lines(folder / benchmark / "contaminated_prompts.jsonl", [])


def _write_lines(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
