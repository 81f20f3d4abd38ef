"""`routing-service train`: options, reports, and what is said when something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Run, complaint
from tests.support.training import WriteBattles, WritePreferences

PAIR = ("--strong-model", "big", "--weak-model", "small")
SMALL = ("--epochs", 3, "--hidden", 8, "--validation-share", 0.2)


def test_mf_reports_as_json(run: Run, tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles) -> None:
    data, out = write_battles(300), tmp_path / "mf"
    ran = run(
        "train", "mf", "--data", data, "--output", out, "--embeddings", embeddings_folder, *PAIR, *SMALL, "--json"
    )
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["models"] == ["big", "small", "tiny"]
    assert report["metrics"]["epochs"] == 3
    (tmp_path / "routing.yaml").write_text(report["config"])
    checked = run("check-config", tmp_path / "routing.yaml")
    assert f"router mf: mf, revision {report['revision']}, big / small, default" in checked.out


@pytest.mark.usefixtures("few_rounds")
def test_static_learns_from_battles_and_keeps_benchmarks_apart(
    run: Run, tmp_path: Path, table_folder: Path, write_battles: WriteBattles
) -> None:
    data, benchmark = write_battles(400), tmp_path / "house.jsonl"
    asked = json.loads(json.loads(data.read_text().splitlines()[1])["prompt"])[0]
    benchmark.write_text(json.dumps({"prompt": asked}) + "\n")
    command = [
        "train",
        "static",
        "--data",
        data,
        "--output",
        tmp_path / "out",
        "--table",
        table_folder,
        *PAIR,
    ]
    err = complaint(run(*command, "--report-on", benchmark))
    assert "1 rows ask what house asks, e.g. battles.jsonl:2 (as house.jsonl:1)" in err
    assert asked not in err
    ran = run(*command, "--report-on", benchmark, "--drop-overlap", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["benchmarks"]["house"]["overlap"] == "dropped"
    assert len(report["intervals"]["battles.jsonl"]) == 3
    allowed = run(*command, "--report-on", benchmark, "--allow-overlap")
    assert "benchmark house: overlap allowed (1 rows)" in allowed.out
    (tmp_path / "routing.yaml").write_text(report["config"])
    assert allowed.out.endswith(report["config"] + "\n")
    assert "router static: static" in run("check-config", tmp_path / "routing.yaml").out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["provenance"]["benchmarks"]["house"]["overlap"] == "allowed"
    assert manifest["provenance"]["command"].endswith("--report-on house.jsonl --allow-overlap")


@pytest.mark.usefixtures("few_rounds")
def test_several_names_stand_for_one_side(
    run: Run, tmp_path: Path, table_folder: Path, write_battles: WriteBattles
) -> None:
    command = ["train", "static", "--data", write_battles(400), "--output", tmp_path / "out"]
    ran = run(*command, "--table", table_folder, "--strong-model", "big", "--weak-model", "small", "tiny")
    assert ran.code == 0, ran.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["models"] == {"strong": "big", "weak": "small"}
    assert manifest["provenance"]["command"].endswith("--strong-model big --weak-model small tiny")


@pytest.mark.parametrize("kind", ["static", "mf"])
def test_an_overlap_option_without_a_benchmark_is_a_mistake(
    run: Run, tmp_path: Path, write_preferences: WritePreferences, kind: str
) -> None:
    data = write_preferences(20)
    err = complaint(run("train", kind, "--data", data, "--output", tmp_path / "out", "--drop-overlap"))
    assert "--drop-overlap is about the benchmarks of --report-on" in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--validation-share", "0.9"], "not a number above 0 and at most 0.5"),
        (["--validation-share", "0"], "not a number above 0"),
        (["--epochs", "0"], "not a whole number from 1 to 1000000"),
        (["--seed", "-1"], "not a whole number from 0"),
        (["--noise", "-1"], "not a number from 0"),
        (["--noise", "nan"], "not a number from 0"),
        (["--drop-overlap", "--allow-overlap"], "not allowed with"),
    ],
)
def test_wrong_options_of_mf(run: Run, tmp_path: Path, arguments: list[str], problem: str) -> None:
    ran = run("train", "mf", "--data", "a", "--output", "b", *arguments)
    assert problem in complaint(ran, code=2)


@pytest.mark.parametrize("kind", ["static", "mf"])
def test_missing_data_is_named(run: Run, tmp_path: Path, kind: str) -> None:
    err = complaint(run("train", kind, "--data", tmp_path / "none.jsonl", "--output", tmp_path / "out"))
    assert "none.jsonl does not exist" in err
