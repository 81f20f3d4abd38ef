"""Benchmarks small enough to work out by hand, in the layouts that are read, and routers to evaluate on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing_service.config import Config, parse_config
from tests.support.benchmarks import STRONG, WEAK, WriteRows, write_csv, write_lines


@pytest.fixture
def evals_folder(tmp_path: Path) -> Path:
    """RouteLLM's layout: two subjects of MMLU, 30 prompts of GSM8K, two MT-Bench questions; one more of each is out."""
    folder = tmp_path / "evals"
    write_csv(
        folder / "mmlu/responses/mmlu_anatomy.csv", ["a1,True,True", "a2,False,True", "a3,False,True", "out,True,False"]
    )
    write_csv(folder / "mmlu/responses/mmlu_virology.csv", ["v1,True,False", "a1,True,True"])
    write_lines(folder / "mmlu/contaminated_prompts.jsonl", [{"eval_prompt": "out"}, {"eval_prompt": "elsewhere"}])
    rows = [f"word problem {i},{i % 3 > 0},{i % 2 > 0}" for i in range(30)]
    write_csv(folder / "gsm8k/gsm8k_responses.csv", [*rows, "out,True,True"])
    write_lines(folder / "gsm8k/contaminated_prompts.jsonl", [{"eval_prompt": "out"}])
    write_lines(
        folder / "mt_bench/question.jsonl",
        [{"question_id": i, "turns": [f"first {i}", f"second {i}"]} for i in (1, 2, 3)],
    )
    write_lines(folder / "mt_bench/contaminated_prompts.jsonl", [{"eval_prompt": "second 2"}])
    grades = {STRONG: (9, 10), WEAK: (4, 8), "another": (1, 1)}
    judgements = [
        {"question_id": i, "model": model, "turn": turn + 1, "score": pair[turn] - (i == 3)}
        for model, pair in grades.items()
        for i in (1, 2, 3)
        for turn in (0, 1)
    ]
    write_lines(folder / "mt_bench/judgements.jsonl", judgements)
    return folder


@pytest.fixture
def write_benchmark(tmp_path: Path) -> WriteRows:
    """Write rows of a benchmark of one's own: `write_benchmark([(prompt, big's score, small's score), …])`."""

    def write(rows: list[tuple[str, float, float]], name: str = "own.jsonl") -> Path:
        listed = [{"prompt": prompt, "scores": {"big": big, "small": small}} for prompt, big, small in rows]
        return write_lines(tmp_path / name, listed)

    return write


@pytest.fixture
def config(tmp_path: Path, static_artifact: Path) -> Config:
    """The tiny `static` router, and chance by prompt and by draw."""
    text = f"""
routers:
  static: {{type: static, artifact: '{static_artifact}'}}
  odds: {{type: random, seed: 1, by_prompt: true}}
  luck: {{type: random, seed: 1}}
"""
    return parse_config(text, "a test", tmp_path)
