"""Rows of scores and of battles, from every kind of file, and what is said of malformed ones."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routing_service.errors import UsageError
from routing_service.rows.labels import BattleRow, ScoreRow, is_true, read_labels
from routing_service.rows.reader import RowFile

ARENA = ("id", "model_a", "model_b", "prompt", "response_a", "response_b", *("winner_model_a", "winner_model_b"))
SECRET = "the secret of the prompt"


def battle(prompt: str = "p", a: str = "big", b: str = "small", **outcome: Any) -> dict[str, Any]:
    return {"prompt": prompt, "model_a": a, "model_b": b, **(outcome or {"winner": "model_a"})}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_rows(path: Path) -> Iterator[ScoreRow | BattleRow]:
    return read_labels(RowFile(path))


def outcomes(path: Path) -> list[float]:
    return [row.outcome for row in read_rows(path) if isinstance(row, BattleRow)]


def test_arena_s_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*ARENA, "winner_tie"])
        writer.writerow([1, "big", "small", '["first turn\\n", "second"]', '["r"]', '["s"]', 1, 0, 0])
        writer.writerow([2, "small", "big", '["a", null]', '["r"]', '["s"]', 0, 0, 1])
        writer.writerow([3, "small", "big", "plain", "r", "s", 0, 1, 0])
    rows = list(read_rows(path))
    assert rows == [
        BattleRow("first turn\n", "train.csv.gz", "", "train.csv.gz:2", "big", "small", 1.0),
        BattleRow("a", "train.csv.gz", "", "train.csv.gz:3", "small", "big", 0.5),
        BattleRow("plain", "train.csv.gz", "", "train.csv.gz:4", "small", "big", 0.0),
    ]


def test_parquet_is_read_with_columns_of_scores(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    battles: dict[str, list[Any]] = {"prompt": ['["one"]', '["two"]'], "model_a": ["a", "a"], "model_b": ["b", "b"]}
    battles |= {"winner_model_a": [0, 1], "winner_model_b": [1, 0], "other": ["x", "y"]}
    parquet.write_table(pa.table(battles), tmp_path / "b.parquet")
    assert outcomes(tmp_path / "b.parquet") == [0.0, 1.0]
    scores = {"prompt": ["one", "two"], "scores": [{"a": 1.0, "b": None}, {"a": None, "b": 0.5}]}
    parquet.write_table(pa.table(scores), tmp_path / "s.parquet")
    rows = list(read_rows(tmp_path / "s.parquet"))
    assert [row.scores for row in rows if isinstance(row, ScoreRow)] == [{"a": 1.0}, {"b": 0.5}]
    assert rows[1].where == "s.parquet:2"


def test_a_cell_of_csv_may_hold_scores(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('prompt,scores\n"p","{""a"": 1, ""b"": 0.5}"\n')
    (row,) = read_rows(tmp_path / "s.csv")
    assert isinstance(row, ScoreRow)
    assert row.scores == {"a": 1, "b": 0.5}


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [
        ({"winner": "model_a"}, 1.0),
        ({"winner": "model_b"}, 0.0),
        ({"winner": "tie"}, 0.5),
        ({"winner": "tie (bothbad)"}, 0.5),
        ({"winner": "both_bad"}, 0.5),
        ({"winner": " Tie "}, 0.5),
        ({"winner_model_a": True, "winner_model_b": False, "winner_tie": False}, 1.0),
        ({"winner_model_a": "0", "winner_model_b": "1"}, 0.0),
        ({"winner_model_a": "False", "winner_model_b": "False", "winner_tie": "True"}, 0.5),
        ({"winner_model_a": 0, "winner_model_b": 0}, 0.5),
        ({"winner": None, "winner_model_a": 1, "winner_model_b": 0}, 1.0),
    ],
)
def test_outcomes(tmp_path: Path, outcome: dict[str, Any], wanted: float) -> None:
    assert outcomes(write_lines(tmp_path / "b.jsonl", [battle(**outcome)])) == [wanted]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (battle(winner="nobody"), "'winner' must be one of 'model_a'"),
        (battle(winner=1), "'winner' must be one of"),
        (battle(winner_model_a=1), "must have one outcome"),
        (battle(winner_model_a=1, winner_model_b=1), "must have one outcome"),
        (battle(winner_model_a=0, winner_model_b=0, winner_tie=0), "has no outcome"),
        ({"prompt": "p", "model_a": "a", "model_b": "b", "winer": "tie"}, "only .*; is 'winer' meant to be it"),
        (battle(winner_model_a=0.5, winner_model_b=0), "must hold 1 or 0"),
        (battle(winner_model_a=float("nan"), winner_model_b=0), "must hold 1 or 0"),
        (battle(winner_model_a="yes", winner_model_b=0), "must hold 1 or 0"),
        (battle(a=""), "'model_a' must be a model's name"),
        ({"prompt": "p", "model_a": "a", "winner": "tie"}, "'model_b' must be a model's name"),
        ({**battle(), "prompt": 5}, "'prompt' must be a text, or a list"),
        ({**battle(), "prompt": [5]}, "'prompt' must be a text, or a list"),
        ({"model_a": "a", "model_b": "b", "winner": "tie", "text": SECRET}, "has no 'prompt', only 'model_a'"),
        ({"prompt": SECRET}, "has no 'scores', only 'prompt'. Labels are needed"),
        ({"prompt": SECRET, "scores": [1, 2]}, "'scores' must be an object of models and numbers"),
        ({"prompt": SECRET, "scores": {}}, "'scores' must be an object of models and numbers"),
        ({"prompt": SECRET, "scores": None}, "'scores' must be an object of models and numbers"),
        ({"prompt": SECRET, "scores": {"a": float("nan")}}, "the score of 'a' must be a finite number"),
        ({"prompt": SECRET, "scores": {"a": float("inf")}}, "the score of 'a' must be a finite number"),
        ({"prompt": SECRET, "scores": {"a": SECRET}}, "the score of 'a' must be a finite number .*, not a str"),
        ({"prompt": SECRET, "scores": {"a": 10**400}}, "must be a finite number of at most 1e"),
        ({"prompt": SECRET, "scores": {"a": -1e308}}, "must be a finite number of at most 1e"),
        ({"prompt": SECRET, "scores": {SECRET * 9: "x"}}, "the score of '…' must be"),
        (battle(winner_model_a=10**400, winner_model_b=0), "must hold 1 or 0"),
    ],
)
def test_a_malformed_row_is_named_and_no_prompt_quoted(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    path = write_lines(tmp_path / "b.jsonl", [battle(), row])
    with pytest.raises(UsageError, match=f"b.jsonl:2: .*{problem}") as caught:
        list(read_rows(path))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b'prompt,model_a\n"open', "a.csv:2: is not CSV"),
        ("a.csv", b"prompt,model_a\n\xff\xfe,b\n", "a.csv:2: is not UTF-8 text"),
        ("a.csv.gz", b"not gzip", "cannot be read"),
        ("a.parquet", b"not parquet", "cannot be read as Parquet"),
        ("a.csv", b"prompt,gpt,mixtral\nwhat,1,0\n", "a.csv:1: has no 'scores', only 'prompt', 'gpt', 'mixtral'"),
    ],
)
def test_files_that_are_not_what_they_say(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        *((value, True) for value in (True, 1, 1.0, "1", "1.0", "true", "True", " TRUE ")),
        *((value, False) for value in (False, 0, 0.0, "0", "0.0", "false", "False")),
        *((value, None) for value in (None, "", "yes", 2, 0.5, float("nan"), "nan", 10**400, [1])),
    ],
)
def test_flags(value: object, wanted: bool | None) -> None:
    assert is_true(value) is wanted


def test_a_flag_is_a_score_and_null_is_none(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "scores": {"a": True, "b": False, "c": 0.5, "d": None}}]
    (row,) = read_rows(write_lines(tmp_path / "s.jsonl", rows))
    assert row.scores == {"a": 1.0, "b": 0.0, "c": 0.5}


def test_a_battle_has_scores_too(tmp_path: Path) -> None:
    rows = [battle(winner=winner) for winner in ("model_a", "model_b", "tie")]
    found = [row.scores for row in read_rows(write_lines(tmp_path / "b.jsonl", rows))]
    assert found == [{"big": 1.0, "small": 0.0}, {"big": 0.0, "small": 1.0}, {"big": 0.5, "small": 0.5}]


def test_rows_without_text_are_kept_and_counted(tmp_path: Path) -> None:
    rows = [battle(prompt=" "), {**battle(), "prompt": None}, {"prompt": "", "scores": {"a": 1}}, battle()]
    file = RowFile(write_lines(tmp_path / "b.jsonl", rows))
    assert [row.prompt for row in read_labels(file)] == [" ", "", "", "p"]
    assert (file.rows, file.blank) == (4, 3)


def test_a_row_s_source_and_place_are_by_the_label(tmp_path: Path) -> None:
    rows = [battle(), {**battle(), "source": "arena", "group": "chat"}]
    found = list(read_labels(RowFile(write_lines(tmp_path / "b.jsonl", rows)), "june/b.jsonl"))
    assert [(row.source, row.group, row.where) for row in found] == [
        ("june/b.jsonl", "", "june/b.jsonl:1"),
        ("arena", "chat", "june/b.jsonl:2"),
    ]
