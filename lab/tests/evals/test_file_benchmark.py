"""A benchmark of one's own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_lab.evals.benchmarks import for_pair
from routing_lab.evals.file_benchmark import FileBenchmark

from routing_service.errors import UsageError
from tests.support.benchmarks import write_lines


def load(tmp_path: Path, *rows: Any) -> Any:
    return FileBenchmark(write_lines(tmp_path / "tickets.v2.jsonl", list(rows))).load()


def test_a_file_of_prompts_and_scores_is_a_benchmark(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "scores": {"big": 1, "small": 0.5}, "id": 7},
        {"prompt": "b", "scores": {"big": True, "small": -3}},
    ]
    data = load(tmp_path, *rows)
    assert (data.name, data.prompts) == ("tickets.v2", ("a", "b"))
    np.testing.assert_array_equal(data.scores["big"], [1, 1])
    np.testing.assert_array_equal(data.scores["small"], [0.5, -3])
    packed = tmp_path / "tickets.v2.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "tickets.v2.jsonl").read_bytes()))
    assert FileBenchmark(packed).load().content_hash == data.content_hash


def test_rows_without_one_of_the_pair_are_left_out_and_counted(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"prompt": "a", "scores": {"small": 0}},
        {"prompt": "b", "scores": {"big": 1, "small": 0, "other": 0.5}},
        {"prompt": "c", "scores": {"big": 0, "small": 1, "other": None}},
        {"prompt": "d", "scores": {"big": 1}},
    ]
    pair = for_pair(load(tmp_path, *rows), "big", "small")
    assert pair.data.prompts == ("b", "c")
    assert pair.unscored == 2
    np.testing.assert_array_equal(pair.strong, [1, 0])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "a"}, r"tickets\.v2\.jsonl:2: has no 'scores', only 'prompt'. Labels are needed: write"),
        ({"prompt": "a", "scores": [1, 2]}, ":2: 'scores' must be an object of models"),
        ({"prompt": "a", "scores": {}}, ":2: 'scores' must be an object of models"),
        ({"prompt": "a", "scores": {"big": "1"}}, r":2: the score of 'big' must be a finite number"),
        ('{"prompt": "a", "scores": {"big": NaN, "small": 1}}\n', r":2: the score of 'big' must be a finite number"),
        ('{"prompt": "a", "scores": {"big": 1e999}}\n', "must be a finite number"),
        ({"prompt": "a", "scores": {"big": 10**400}}, "must be a finite number of at most"),  # too large for a float
        (
            {"prompt": "a", "scores": {"big": -1e308}},
            "must be a finite number of at most",
        ),  # differences would overflow
        ({"question": "a", "scores": {"big": 1}}, "has no 'prompt'"),
        ("nonsense\n", ":2: is not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load(tmp_path, {"prompt": "fine", "scores": {"big": 1}}, row)


def test_rows_without_text_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Any] = [{"prompt": text, "scores": {"big": 1, "small": 0}} for text in ("a", " ", "b")]
    assert load(tmp_path, *rows).prompts == ("a", "b")
    assert "1 of 3 rows of " in capsys.readouterr().err


def test_battles_are_scores(tmp_path: Path) -> None:
    rows = [
        {"prompt": json.dumps([f"p{n}"]), "model_a": "big", "model_b": "org/small", "winner": winner}
        for n, winner in enumerate(("model_a", "tie", "model_b"))
    ]
    pair = for_pair(load(tmp_path, *rows), "org/Big", "small")
    assert pair.data.prompts == ("p0", "p1", "p2")
    np.testing.assert_array_equal(pair.strong, [1, 0.5, 0])
    np.testing.assert_array_equal(pair.weak, [0, 0.5, 1])


def test_rows_may_spell_a_model_in_several_ways(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"prompt": "a", "scores": {"org/Big": 1, "small": 0}},
        {"prompt": "b", "scores": {"BIG": 0, "other/small": 1}},
        {"prompt": "c", "scores": {"big": 1}},
    ]
    data = load(tmp_path, *rows)
    assert set(data.scores) == {"org/Big", "small"}
    np.testing.assert_array_equal(data.scores["org/Big"], [1, 0, 1])
    np.testing.assert_array_equal(data.scores["small"], [0, 1, np.nan])
    both: dict[str, Any] = {"prompt": "d", "scores": {"org/Big": 1, "big": 0, "small": 0}}
    with pytest.raises(UsageError, match="may be any of 'org/Big', 'BIG', 'big'"):
        for_pair(load(tmp_path, *rows, both), "huge/bIG", "small")


def test_an_empty_or_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tickets\.v2\.jsonl: has no rows"):
        load(tmp_path)
    with pytest.raises(UsageError, match=r"none of its 1 rows can be used: they have no text"):
        load(tmp_path, {"prompt": " ", "scores": {"big": 1}})
    with pytest.raises(UsageError, match=r"none\.jsonl: cannot be read"):
        FileBenchmark(tmp_path / "none.jsonl").load()
