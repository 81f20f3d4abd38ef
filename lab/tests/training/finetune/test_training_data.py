"""The rows of a fine-tuning: split by prompt, kept apart from benchmarks, and refused when they teach nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from routing_lab.data.splits import Overlap
from routing_lab.training.finetune.request import BertRequest
from routing_lab.training.finetune.training_data import TrainingData, read_data

from routing_service.errors import UsageError


def write(path: Path, outcomes: list[int]) -> Path:
    texts = (f"question {row} {row * row} of this file asks for something else" for row in range(len(outcomes)))
    rows = [
        {"prompt": text, "scores": {"big": 1, "small": outcome}} for text, outcome in zip(texts, outcomes, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> TrainingData:
    pair = {"strong_model": "big", "weak_model": "small"}
    return read_data(BertRequest(checkpoint="none", data=[path], output=path.parent / "out", **{**pair, **options}))


def test_a_share_of_the_prompts_only_validates(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [i % 2 for i in range(400)])
    data = read(path, validation_share=0.25)
    assert len(data.train) + len(data.validation) == 400
    assert 60 < len(data.validation) < 140
    assert not {e.prompt for e in data.train} & {e.prompt for e in data.validation}
    assert data.validation == read(path, validation_share=0.25).validation
    assert data.validation != read(path, validation_share=0.25, seed=1).validation
    assert data.provenance()["data"][0]["used"] == 400


@pytest.mark.parametrize(
    ("outcomes", "options", "says"),
    [
        ([i % 2 for i in range(50)], {}, r"50 usable rows\. At least 200 different prompts"),
        ([1] * 300, {}, "the same outcome in all 300 rows"),
        ([i % 2 for i in range(300)], {"validation_share": 0.01}, "--validation-share"),
    ],
)
def test_what_teaches_nothing_is_refused(
    tmp_path: Path, outcomes: list[int], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        read(write(tmp_path / "own.jsonl", outcomes), **options)


def test_models_that_the_data_does_not_score_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [0, 1] * 150)
    with pytest.raises(UsageError, match="300 do not score 'huge' and 'small', only 'big', 'small'"):
        read(path, strong_model="huge")


def test_prompts_of_a_benchmark_are_not_learnt_from(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [i % 2 for i in range(400)])
    lines = path.read_text(encoding="utf-8").splitlines()[:5]
    (tmp_path / "exam.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="--drop-overlap"):
        read(path, report_on=[tmp_path / "exam.jsonl"])
    data = read(path, report_on=[tmp_path / "exam.jsonl"], overlap=Overlap.DROP)
    taken = {json.loads(line)["prompt"] for line in lines}
    assert not taken & {example.prompt for example in (*data.train, *data.validation)}
    assert data.provenance()["benchmarks"]["exam"]["overlap"] == "dropped"
    (file,) = data.provenance()["data"]
    assert (file["rows"], file["used"], file["overlap"]) == (400, 395, 5)
