"""Battles from files of battles and of scores, and examples of one pair from files of battles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from routing_lab.data.battles import load_battles
from routing_lab.data.preferences import load_preferences

from .test_preferences import halves, write_mmlu


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def battle(a: str, b: str, winner: str, prompt: str = "a prompt") -> dict[str, Any]:
    return {"prompt": prompt, "model_a": a, "model_b": b, "winner": winner}


def test_scores_become_every_pair_and_weigh_what_they_tell(tmp_path: Path) -> None:
    scores = {"a": 1.0, "b": 0.5, "c": 0.0}
    data = load_battles([write_lines(tmp_path / "s.jsonl", [{"prompt": "p", "scores": scores}])])
    found = [(battle.model_a, battle.model_b, battle.outcome) for battle in data.battles]
    assert found == [("a", "b", 0.75), ("a", "c", 1.0), ("b", "c", 0.75)]
    assert sum(battle.weight for battle in data.battles) == pytest.approx(2)
    assert data.models == ["a", "b", "c"]
    assert data.battles[0].where == "s.jsonl:1"


def test_of_grades_only_the_sign_counts(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "scores": {"a": 9, "b": 3}}, {"prompt": "q", "scores": {"a": 5, "b": 5}}]
    data = load_battles([write_lines(tmp_path / "s.jsonl", rows)])
    assert [battle.outcome for battle in data.battles] == [1.0, 0.5]


def test_spellings_and_stand_ins_are_one_model(tmp_path: Path) -> None:
    rows = [battle("org/Big", "small", "model_a"), battle("BIG", "other/Small", "tie"), battle("twin", "small", "tie")]
    rows += [battle("twin", "big", "model_a"), {"prompt": "p", "scores": {"big": 1.0, "twin": 0.0, "small": 0.0}}]
    data = load_battles([write_lines(tmp_path / "b.jsonl", rows)], [["big", "twin"], "small"])
    assert data.models == ["big", "small"]
    assert [(each.model_a, each.outcome) for each in data.battles] == [*[("big", v) for v in (1.0, 0.5, 0.5, 0.75)]]
    assert data.files[0].without_pair == 1  # a model against itself


def test_rows_that_teach_nothing_are_counted(tmp_path: Path) -> None:
    rows = [battle("a", "b", "tie", prompt=" "), {"prompt": "p", "scores": {"a": 1}}]
    rows += [{"source": "routellm-distl", "prompt": "p", "scores": {"a": 0, "b": 0}}, battle("a", "b", "model_b")]
    (record,) = load_battles([write_lines(tmp_path / "b.jsonl", rows)]).files
    assert (record.rows, record.used, record.blank, record.without_pair, record.unsolved) == (4, 1, 1, 1, 1)


def test_a_benchmark_folder_gives_its_dev_half_only(tmp_path: Path) -> None:
    dev, audit = halves(30)
    root = write_mmlu(tmp_path / "evals", dev + audit)
    file = write_lines(tmp_path / "b.jsonl", [battle("big", "small", "model_a", prompt) for prompt in audit[:3]])
    data = load_battles([root, file], ["big", "small"])
    assert {each.prompt for each in data.battles} == set(dev)
    assert {each.outcome for each in data.battles} == {0.0}  # the file's first model is `other/SMALL`
    assert data.models == ["big", "small"]
    assert data.files[0].held_out == 3


def test_examples_of_one_pair_from_battles(tmp_path: Path) -> None:
    rows = [battle("big", "small", "model_a"), battle("Small", "org/Big", "model_a"), battle("small", "big", "tie")]
    rows += [battle("big", "third", "model_a"), battle("twin", "small", "model_b"), battle("big", "big", "tie")]
    data = load_preferences([write_lines(tmp_path / "b.jsonl", rows)], "big", "small")
    assert [example.target for example in data.examples] == [1.0, 0.0, 0.5]
    assert [example.where for example in data.examples] == ["b.jsonl:1", "b.jsonl:2", "b.jsonl:3"]
    assert data.files[0].without_pair == 3
    several = load_preferences([tmp_path / "b.jsonl"], ["big", "twin"], ["small", "third"])
    assert [example.target for example in several.examples] == [1.0, 0.0, 0.5, 1.0, 0.0]


def test_several_names_of_a_side_are_averaged_over_a_row_s_scores(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "scores": {"big": 1.0, "twin": 0.5, "small": 0.25}}]
    data = load_preferences([write_lines(tmp_path / "s.jsonl", rows)], ["big", "twin", "absent"], "small")
    assert [example.target for example in data.examples] == [0.75]
