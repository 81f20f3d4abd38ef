"""The same labels in every odd shape go through every command that reads labels, with the same counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.cli import Run
from tests.support.rows import Row, write_rows
from tests.support.training import EASY, HARD, WritePreferences

COUNT = 40
PAIR = ("--strong-model", "big", "--weak-model", "small")
Write = Callable[[Path], Path]


def score_rows() -> list[Row]:
    """Whether big and small were right, on prompts that differ in their words; one row has a blank prompt."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for number in range(COUNT):
        hard = number % 2
        prompt = " ".join(rng.choice((HARD if hard else EASY).split(), 3)) + f" {number}?"
        small = 1 if not hard or number % 7 == 0 else 0
        rows.append({"prompt": prompt, "scores": {"big": 1, "small": small}})
    return [*rows, {"prompt": " ", "scores": {"big": 1, "small": 0}}]


def battle_rows() -> list[Row]:
    """The same outcomes as battles; one in three has the weak model first."""
    rows: list[Row] = []
    for number, row in enumerate(score_rows()):
        won = row["scores"]["small"] == 0
        flags = {"winner_model_a": int(won), "winner_model_b": 0, "winner_tie": int(not won)}
        models = ["big", "small"]
        if number % 3 == 0:
            models.reverse()
            flags = {"winner_model_a": 0, "winner_model_b": int(won), "winner_tie": int(not won)}
        prompt = row["prompt"] if row["prompt"].isspace() else f"Please answer at length: {row['prompt']}"
        rows.append({"prompt": json.dumps([prompt, "And then?"]), "model_a": models[0], "model_b": models[1], **flags})
    return rows


def rewritten(rows: list[Row], change: Callable[[Row], Row], name: str) -> Write:
    return lambda folder: write_rows(folder / name, [change(row) for row in rows])


def with_mark(write: Write) -> Write:
    def marked(folder: Path) -> Path:
        path = write(folder)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        return path

    return marked


def as_is(row: Row) -> Row:
    return row


def booleans(row: Row) -> Row:
    return {**row, "scores": {name: bool(score) for name, score in row["scores"].items()}}


def organisations(row: Row) -> Row:
    return {**row, "scores": {"openai/Big": row["scores"]["big"], "Vendor/small": row["scores"]["small"]}}


def messages(row: Row) -> list[Row]:
    older = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello."}]
    return [*older, {"role": "assistant", "content": "Hi!"}, {"role": "user", "content": row["prompt"]}]


def in_messages(row: Row) -> Row:
    older = messages({"prompt": " "})[:1] if row["prompt"].isspace() else messages(row)
    return {"messages": older, "scores": row["scores"]}


def in_a_batch(row: Row) -> Row:
    body = {"model": "m", "messages": in_messages(row)["messages"]}
    return {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body, "scores": row["scores"]}


SCORES = score_rows()
SHAPES: dict[str, Write] = {
    "numbers": rewritten(SCORES, as_is, "numbers.jsonl"),
    "booleans": rewritten(SCORES, booleans, "booleans.jsonl"),
    "ndjson": rewritten(SCORES, booleans, "ndjson.ndjson"),
    "jsonlines": rewritten(SCORES, as_is, "jsonlines.jsonlines"),
    "log": rewritten(SCORES, as_is, "log.log"),
    "no suffix": rewritten(SCORES, as_is, "plain"),
    "gzip": rewritten(SCORES, booleans, "gzip.jsonl.gz"),
    "a mark": with_mark(rewritten(SCORES, as_is, "mark.jsonl")),
    "organisations": rewritten(SCORES, organisations, "organisations.jsonl"),
    "csv": rewritten(SCORES, booleans, "csv.csv"),
    "csv with a mark": with_mark(rewritten(SCORES, organisations, "mark.csv")),
    "csv, gzip": rewritten(SCORES, as_is, "csv.csv.gz"),
    "tabs": rewritten(SCORES, as_is, "tabs.tsv"),
    "parquet": rewritten(SCORES, booleans, "parquet.parquet"),
    "messages": rewritten(SCORES, in_messages, "messages.jsonl"),
    "messages in csv": rewritten(SCORES, in_messages, "messages.csv"),
    "a batch": rewritten(SCORES, in_a_batch, "batch.jsonl"),
}


def spelt(true: Any, false: Any) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        return {n: (true if v else false) if n.startswith("winner_") else v for n, v in row.items()}

    return change


def by_name(row: Row) -> Row:
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    winner = next(name for name in names if row[name]).removeprefix("winner_")
    return {**{name: value for name, value in row.items() if name not in names}, "winner": winner}


def other_names(row: Row) -> Row:
    return {**row, "model_a": f"openai/{row['model_a'].title()}", "model_b": f"vendor/{row['model_b']}"}


def in_a_conversation(row: Row) -> Row:
    turns = [{"role": "user", "content": text} for text in json.loads(row["prompt"])]
    del row["prompt"]
    return {"conversation_a": turns, "conversation_b": turns, **row}


BATTLES = battle_rows()
BATTLE_SHAPES: dict[str, Write] = {
    "numbers": rewritten(BATTLES, as_is, "numbers.jsonl"),
    "booleans": rewritten(BATTLES, spelt(True, False), "booleans.jsonl"),
    "csv, 1": rewritten(BATTLES, as_is, "one.csv"),
    "csv, True": rewritten(BATTLES, spelt("True", "False"), "true.csv"),
    "csv, true": rewritten(BATTLES, spelt("true", "false"), "lower.csv"),
    "csv, 1.0": rewritten(BATTLES, spelt("1.0", "0.0"), "float.csv"),
    "csv with a mark": with_mark(rewritten(BATTLES, spelt("True", "False"), "mark.csv")),
    "tabs": rewritten(BATTLES, spelt("True", "False"), "tabs.tsv"),
    "ndjson": rewritten(BATTLES, as_is, "ndjson.ndjson"),
    "log": rewritten(BATTLES, as_is, "log.log"),
    "gzip": rewritten(BATTLES, as_is, "gzip.csv.gz"),
    "parquet": rewritten(BATTLES, spelt(True, False), "parquet.parquet"),
    "winner": rewritten(BATTLES, by_name, "winner.jsonl"),
    "organisations": rewritten(BATTLES, other_names, "organisations.jsonl"),
    "conversation_a": lambda folder: write_rows(
        folder / "conversation.jsonl", [in_a_conversation(dict(row)) for row in BATTLES]
    ),
    "conversation_a in csv": lambda folder: write_rows(
        folder / "conversation.csv", [in_a_conversation(dict(row)) for row in BATTLES]
    ),
}
NAMED = (".jsonl", ".csv", ".parquet", ".gz")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def check_notes(err: str, path: Path) -> None:
    """A blank row is told, and what a file was taken for where its name does not say it."""
    assert f"1 of {COUNT + 1} rows of {path} have no text and are left out" in err
    assert (f"{path} is read as " in err) == (path.suffix not in NAMED)


def calibrated(run: Run, config: Path, path: Path) -> dict[str, Any]:
    ran = run("calibrate", "--target-quality", 0.9, "--input", path, "--config", config, *PAIR, "--json")
    assert ran.code == 0, ran
    check_notes(ran.err, path)
    answer: dict[str, Any] = json.loads(ran.out)
    return {name: value for name, value in answer.items() if name != "source"}


def evaluated(run: Run, config: Path, path: Path) -> dict[str, Any]:
    ran = run("evaluate", "--benchmark", path, "--config", config, *PAIR, "--resamples", 10, "--json")
    assert ran.code == 0, ran
    check_notes(ran.err, path)
    (benchmark,) = json.loads(ran.out)["benchmarks"]
    names = ("prompts", "unscored", "distinct_prompts", "strong_quality", "weak_quality")
    return {name: benchmark[name] for name in names if name in benchmark}


@pytest.fixture(scope="module")
def plain_answers() -> dict[str, Any]:
    """What the plain shape of the same rows gives, worked out once."""
    return {}


@pytest.mark.parametrize(
    ("kind", "shape"), [*(("scores", shape) for shape in SHAPES), *(("battles", shape) for shape in BATTLE_SHAPES)]
)
def test_labels_of_any_shape_mean_the_same(
    run: Run, config: Path, tmp_path: Path, plain_answers: dict[str, Any], kind: str, shape: str
) -> None:
    shapes = {"scores": SHAPES, "battles": BATTLE_SHAPES}[kind]
    for command, count in ((calibrated, "sample_size"), (evaluated, "prompts")):
        name = f"{kind} {command.__name__}"
        if name not in plain_answers:
            plain_answers[name] = command(run, config, shapes["numbers"](tmp_path))
        found = command(run, config, shapes[shape](tmp_path))
        assert found[count] == COUNT
        assert found == plain_answers[name]


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize(
    ("kind", "more"), [("static", ()), ("mf", ("--epochs", 2, "--hidden", 8, "--validation-share", 0.2))]
)
@pytest.mark.parametrize("shapes", [SHAPES, BATTLE_SHAPES], ids=["scores", "battles"])
def test_every_shape_is_learnt_from(
    run: Run,
    tmp_path: Path,
    embeddings_folder: Path,
    table_folder: Path,
    write_preferences: WritePreferences,
    kind: str,
    more: tuple[Any, ...],
    shapes: dict[str, Write],
) -> None:
    paths = [write(tmp_path) for write in shapes.values()]
    data = [*paths, write_preferences(300)]  # so many that there is something to learn
    vectors = ("--table", table_folder) if kind == "static" else ("--embeddings", embeddings_folder)
    ran = run("train", kind, "--data", *data, "--output", tmp_path / "out", *vectors, *PAIR, *more)
    assert ran.code == 0, ran
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    records = {record["name"]: record for record in manifest["provenance"]["data"]}
    for path in paths:
        record = records[path.name]
        assert (record["rows"], record["used"], record["blank"]) == (COUNT + 1, COUNT, 1), path
        check_notes(ran.err, path)
    assert manifest["models"] == {"strong": "big", "weak": "small"}


@pytest.mark.parametrize("shape", BATTLE_SHAPES)
def test_battles_of_any_shape_are_exported(tmp_path: Path, shape: str) -> None:
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    from tests.support.sw_ranking import export

    rng = np.random.default_rng(0)
    vectors = [{"embeddings": (rng.standard_normal(4) + 1).tolist()} for _ in range(COUNT)]
    embeddings = write_rows(tmp_path / "vectors.jsonl.gz", vectors)
    files = {}
    for name in dict.fromkeys(("numbers", shape)):
        options: dict[str, Any] = {"strong_model": "big", "weak_model": "small", "num_tiers": 2}
        options |= {"battles": [str(BATTLE_SHAPES[name](tmp_path))], "embeddings": [str(embeddings)]}
        report = export(tmp_path / name, **options)
        assert f"{COUNT} battles of 2 models in 2 tiers" in report
        files[name] = json.loads((tmp_path / name / "manifest.json").read_text())["files"]
    assert files[shape] == files["numbers"]
