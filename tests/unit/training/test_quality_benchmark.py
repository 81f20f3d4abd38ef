"""The quality benchmark reads RouteLLM's folders as RouteLLM does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import Responses, read_mt_bench, read_right_or_wrong, report
from routing_service.training.examples import in_dev_half
from routing_service.training.sources import DEFAULT_STRONG, DEFAULT_WEAK


def test_mt_bench_is_the_mean_of_both_turns_without_contaminated_questions(tmp_path: Path) -> None:
    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("question.jsonl", [{"question_id": i, "turns": [f"first {i}", f"second {i}"]} for i in (1, 2, 3)])
    write("contaminated_prompts.jsonl", [{"eval_prompt": "second 2"}])
    grades = {DEFAULT_STRONG: (9, 10), "org/" + DEFAULT_WEAK: (4, 8), "another": (1, 1)}
    rows = [
        {"question_id": i, "model": model, "turn": turn + 1, "score": pair[turn] - (i == 3)}
        for model, pair in grades.items()
        for i in (1, 2, 3)
        for turn in (0, 1)
    ]
    write("judgements.jsonl", rows)
    found = read_mt_bench(tmp_path)
    assert found.prompts == ["first 1", "first 3"]
    np.testing.assert_allclose(found.strong, [9.5, 8.5])
    np.testing.assert_allclose(found.weak, [6, 5])


@pytest.mark.parametrize("half", ["dev", "audit"])
def test_a_half_is_that_half(tmp_path: Path, half: str) -> None:
    prompts = [f"question {i}" for i in range(30)]
    lines = [f"prompt,{DEFAULT_STRONG},{DEFAULT_WEAK}", *(f"{prompt},True,False" for prompt in prompts)]
    (tmp_path / "gsm8k_responses.csv").write_text("\n".join(lines) + "\n")
    found = read_right_or_wrong(tmp_path, half)
    assert found.prompts == [prompt for prompt in prompts if in_dev_half(prompt) == (half == "dev")]
    assert (found.strong - found.weak == 1).all()


def test_the_report_has_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    responses = Responses(["a", "b", "c", "d"], np.array([1.0, 1, 1, 0]), np.array([0.0, 0, 1, 0]))
    rates = dict(zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True))
    report("four", responses, lambda batch: [rates[prompt] for prompt in batch], 4)
    printed = capsys.readouterr().out
    assert "four: 4 prompts, weak 0.2500, strong 0.7500" in printed
    assert "APGR 0.7500   CPT(20%) 10.0%   CPT(50%) 25.0%   CPT(80%) 40.0%" in printed
