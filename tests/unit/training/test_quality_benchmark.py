"""The quality benchmark reads RouteLLM's folders as RouteLLM does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import Responses, main, read_mt_bench, read_right_or_wrong, report
from benchmarks.quality_plot import Panel, draw, gain_interval, quality_curve
from routing_service.errors import UsageError
from routing_service.training.examples import in_dev_half
from routing_service.training.sources import DEFAULT_STRONG, DEFAULT_WEAK


def write_csv(path: Path, rows: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([f"prompt,{DEFAULT_STRONG},{DEFAULT_WEAK}", *rows]) + "\n")


def panel(prompts: int) -> Panel:
    """A router that is right more often than not."""
    rng = np.random.default_rng(prompts)
    gains = rng.integers(-1, 3, prompts).clip(-1, 1)
    weak = (gains < 0).astype(float)
    return Panel(rng.normal(gains, 2), weak + gains, weak, 0.6, "right answers")


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
    write_csv(tmp_path / "gsm8k_responses.csv", [f"{prompt},True,False" for prompt in prompts])
    found = read_right_or_wrong(tmp_path, half)
    assert found.prompts == [prompt for prompt in prompts if in_dev_half(prompt) == (half == "dev")]
    assert (found.strong - found.weak == 1).all()


def test_the_report_has_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    responses = Responses(["a", "b", "c", "d"], np.array([1.0, 1, 1, 0]), np.array([0.0, 0, 1, 0]))
    assert report("four", responses, [0.9, 0.8, 0.2, 0.1], 4) == 0.75
    printed = capsys.readouterr().out
    assert "four: 4 prompts, weak 0.2500, strong 0.7500" in printed
    assert "APGR 0.7500   CPT(20%) 10.0%   CPT(50%) 25.0%   CPT(80%) 40.0%" in printed


def test_a_quality_curve_by_hand() -> None:
    curve = quality_curve(np.array([0.1, 0.9, 0.5, 0.7]), np.array([1.0, 1, 0, 1]), np.array([0.0, 0, 1, 1]))
    np.testing.assert_allclose(curve[[0, 25, 50, 75, 100]], [0.5, 0.75, 0.75, 0.5, 0.75])
    np.testing.assert_allclose(curve[30], 0.75)


def test_an_interval_lies_around_its_curve_and_narrows_with_more_prompts() -> None:
    few, many = panel(60), panel(3000)
    widths = []
    for some in (few, many):
        low, high = gain_interval(some)
        curve = quality_curve(some.win_rates, some.strong, some.weak)
        assert (low <= curve).all()
        assert (curve <= high).all()
        # Everything or nothing to the strong model is what random routing does too.
        np.testing.assert_allclose(low[[0, -1]], curve[[0, -1]])
        np.testing.assert_allclose(high[[0, -1]], curve[[0, -1]])
        widths.append((high - low).mean())
    assert widths[1] < widths[0] / 3


def test_a_figure_is_the_same_every_time_and_says_what_it_shows(tmp_path: Path) -> None:
    panels = {"MMLU": panel(60), "MT-Bench": panel(20)}
    for name in ("one.svg", "two.svg"):
        draw(panels, tmp_path / name)
    svg = (tmp_path / "one.svg").read_text()
    assert svg == (tmp_path / "two.svg").read_text()
    assert "<!-- MMLU: APGR 0.600 (60 prompts) -->" in svg
    assert "<!-- 95 % interval of its gain over random -->" in svg
    with pytest.raises(UsageError, match=r"q\.abc cannot be written.*not supported"):
        draw(panels, tmp_path / "q.abc")


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'routing-service\[plots\]'"):
        draw({"MMLU": panel(20)}, tmp_path / "q.svg")


def test_the_command_reads_folders_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"what is {i}?,{i % 3 > 0},{i % 2 > 0}" for i in range(80)]
    write_csv(tmp_path / "gsm8k" / "gsm8k_responses.csv", rows)
    plot = tmp_path / "q.svg"
    monkeypatch.setattr(sys, "argv", ["quality", "--data", str(tmp_path), "--half", "dev", "--plot", str(plot)])
    main()
    assert "gsm8k: " in capsys.readouterr().out
    assert f" ({sum(in_dev_half(f'what is {i}?') for i in range(80))} prompts) -->" in plot.read_text()
    monkeypatch.setattr(sys, "argv", ["quality", "--data", str(plot)])
    with pytest.raises(SystemExit, match="holds none of the folders mmlu, gsm8k, mt_bench"):
        main()
