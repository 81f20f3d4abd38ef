"""`routing-service evaluate` as people run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from routing_lab.data.halves import in_dev_half

from tests.support.benchmarks import write_lines
from tests.support.cli import Run, complaint

FILES = {"results.json", "metrics.csv", "sweep.csv", "curves.csv", "quality.png", "quality.svg"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/routing-service/evaluate"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    rows = [{"prompt": f"a secret prompt {i}", "scores": {"big": i % 3 > 0, "small": i % 4 > 1}} for i in range(40)]
    return write_lines(tmp_path / "own.jsonl", rows)


def test_it_prints_a_table_and_writes_nothing_but_the_cache(run: Run, config: Path, own: Path, cache: Path) -> None:
    ran = run("evaluate", "--config", config, "--benchmark", own)
    assert ran.code == 0, ran
    assert ran.err == ""
    assert "own: 40 prompts" in ran.out
    assert "strong big: 0.6500   weak small: 0.5000" in ran.out
    assert len(list(cache.iterdir())) == 1


def test_it_writes_every_file(run: Run, config: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    ran = run("evaluate", "--config", config, "--routers", "static", "random", "--benchmark", own, "--output", out)
    assert ran.code == 0, ran
    assert {path.name for path in out.iterdir()} == FILES
    assert f"written to {out}: curves.csv, metrics.csv, quality.png" in ran.out
    routers = json.loads((out / "results.json").read_text())["benchmarks"][0]["routers"]
    assert [(router["name"], router["runs"]) for router in routers] == [("static", 1), ("random", 10)]


def test_json_is_the_document_and_the_same_from_the_cache(run: Run, config: Path, own: Path) -> None:
    arguments = ("evaluate", "--config", config, "--benchmark", own, "--json", "--resamples", 20)
    first, again = run(*arguments), run(*arguments)
    assert first == again
    assert json.loads(first.out)["benchmarks"][0]["name"] == "own"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--benchmark", "mmlu"], "needs --data DIR"),
        (["--benchmark", "mmlu", "--data", "nowhere"], "--data nowhere: is not a folder"),
        (["--benchmark", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["--benchmark", "mmul"], "did you mean 'mmlu'?"),
        (["--benchmark", "OWN", "--strong-model", "bigg"], "Did you mean 'big'?"),
        (["--benchmark", "OWN", "--split", "audit"], "own has no audit half"),
        (["--benchmark", "OWN", "--routers", "sttic"], "did you mean 'static'?"),
        (["--benchmark", "OWN", "--overwrite-cache", "odds"], "--overwrite-cache: 'odds' is not one of --routers"),
        (["--benchmark", "OWN", "--output", "OWN"], "own.jsonl: is a file, but results need a folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, config: Path, own: Path, arguments: list[str], says: str) -> None:
    given = [str(own) if argument == "OWN" else argument for argument in arguments]
    assert says in complaint(run("evaluate", "--config", config, *given))


@pytest.mark.parametrize(
    "arguments",
    [[], ["--benchmark"], ["--benchmark", "mmlu", "--num-results", "0"], ["--benchmark", "mmlu", "--parallel", "x"]],
)
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    complaint(run("evaluate", *arguments), code=2)


def test_a_corrupt_cache_is_warned_of_and_mended(run: Run, config: Path, own: Path, cache: Path) -> None:
    arguments = ("evaluate", "--config", config, "--benchmark", own)
    good = run(*arguments)
    (file,) = cache.iterdir()
    file.write_bytes(b"damaged")
    warned = run(*arguments)
    assert (warned.code, warned.out) == (0, good.out)
    assert "win_rate_cache_unusable" in warned.err
    assert run(*arguments) == good


def test_a_cache_that_cannot_be_written_does_not_stop_it(run: Run, config: Path, own: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("evaluate", "--config", config, "--benchmark", own, "--cache-dir", tmp_path / "file")
    assert ran.code == 0
    assert "win_rate_cache_not_written" in ran.err


def test_a_full_disk_is_told_and_leaves_the_old_result(
    run: Run, config: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("evaluate", "--config", config, "--benchmark", own, "--output", tmp_path / "out")
    assert run(*arguments).code == 0
    old = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fsync(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    ran = run(*arguments, "--seed", 5)
    assert ran.code == 1
    assert "out: cannot be written: No space left on device; the old content is unchanged" in ran.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old


def test_what_was_held_out_comes_first_and_in_sample_is_marked(
    run: Run, tmp_path: Path, evals_folder_with_both_halves: Path
) -> None:
    arguments = (
        "evaluate",
        "--benchmark",
        "gsm8k",
        "--data",
        evals_folder_with_both_halves,
        "--output",
        tmp_path / "out",
    )
    ran = run(*arguments)
    assert ran.code == 0, ran
    half, whole = ran.out[: ran.out.index("GSM8K: 30 prompts")], ran.out[ran.out.index("GSM8K: 30 prompts") :]
    assert half.startswith("GSM8K, audit half: ")
    assert re.search(r"\nstatic +out-of-sample ", half)
    assert "note: static: out-of-sample: it was trained on the other half of this benchmark" in half
    learnt = sum(in_dev_half(f"word problem {i}") for i in range(30))
    assert re.search(rf"\nstatic +in-sample, {learnt / 30:.0%} ", whole)
    assert "note: static: in-sample" in whole
    assert "in-sample" in (tmp_path / "out/quality.svg").read_text()
    splits = [found["split"] for found in json.loads((tmp_path / "out/results.json").read_text())["benchmarks"]]
    assert splits == ["audit", "all"]
    # It is what the audit half alone gives.
    assert half.strip() == run(*arguments, "--split", "audit").out.rpartition("\n\nwritten to")[0]


@pytest.fixture
def evals_folder_with_both_halves(tmp_path: Path) -> Path:
    folder = tmp_path / "evals/gsm8k"
    folder.mkdir(parents=True)
    rows = [f"word problem {i},{i % 3 > 0},{i % 2 > 0}" for i in range(30)]
    header = "prompt,gpt-4-1106-preview,mistralai/Mixtral-8x7B-Instruct-v0.1"
    (folder / "gsm8k_responses.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "contaminated_prompts.jsonl").write_text("")
    return folder.parent
