"""`routing-service score`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routing_service.routers import static
from routing_service.routers.static import StaticRouter
from tests.support.cli import PROMPTS, SECRET, Run, complaint
from tests.support.rows import write_rows


def test_score_adds_the_win_rate_to_each_row(
    run: Run, tmp_path: Path, config: Path, prompts: Path, rates: list[float]
) -> None:
    output = tmp_path / "scored.jsonl"
    ran = run("score", "--input", prompts, "--output", output, "--config", config)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"5 rows written to {output}\n"
    before = [json.loads(line) for line in prompts.read_text("utf-8").splitlines()]
    after = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert after == [{**row, "strong_win_rate": rate} for row, rate in zip(before, rates, strict=True)]


@pytest.mark.parametrize("link", ["", "symbolic", "hard"])
def test_score_does_not_write_over_its_input(run: Run, config: Path, prompts: Path, tmp_path: Path, link: str) -> None:
    before, same = prompts.read_bytes(), tmp_path / "link.jsonl"
    if link == "symbolic":
        same.symlink_to(prompts)
    elif link == "hard":
        same.hardlink_to(prompts)
    ran = run("score", "--input", prompts, "--output", same if link else prompts, "--config", config)
    assert "--output would replace the rows of --input; name another file" in complaint(ran, 2)
    assert prompts.read_bytes() == before


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.parquet", "out.csv.gz"])
def test_score_writes_json_lines_under_no_other_name(run: Run, config: Path, prompts: Path, name: str) -> None:
    ran = run("score", "--input", prompts, "--output", prompts.parent / name, "--config", config)
    assert "rows are written as JSON lines; name the file .jsonl" in complaint(ran, 2)


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.txt", "p", "p.log", "p.jsonl.gz"])
def test_score_takes_what_calibrate_takes(
    run: Run, tmp_path: Path, config: Path, rates: list[float], name: str
) -> None:
    path = write_rows(tmp_path / name, [{"prompt": prompt} for prompt in PROMPTS])
    ran = run("score", "--input", path, "--output", tmp_path / "out.jsonl", "--config", config)
    assert ran.code == 0, ran
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert scored == [{"prompt": p, "strong_win_rate": rate} for p, rate in zip(PROMPTS, rates, strict=True)]


def test_score_keeps_every_column_of_a_table(run: Run, tmp_path: Path, config: Path) -> None:
    rows = [{"prompt": "hi", "vector": [0.5, 1.5], "n": 3}]
    path = write_rows(tmp_path / "p.parquet", rows)
    assert run("score", "--input", path, "--output", tmp_path / "out.jsonl", "--config", config).code == 0
    (scored,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    del scored["strong_win_rate"]
    assert scored == rows[0]


def test_score_reads_standard_input_and_writes_standard_output(
    run: Run, config: Path, prompts: Path, rates: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(prompts.read_bytes())))
    ran = run("score", "--input", "-", "--output", "-", "--config", config)
    assert ran.code == 0, ran
    assert [json.loads(line)["strong_win_rate"] for line in ran.out.splitlines()] == rates
    assert ran.err == "note: standard input is read as JSON lines\n5 rows written to standard output\n"


def test_score_leaves_out_rows_without_text_and_says_so(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": " "}\n{"prompt": "b"}\n')
    ran = run("score", "--input", tmp_path / "p.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    assert ran.err.splitlines() == [
        f"note: 1 of 3 rows of {tmp_path / 'p.jsonl'} have no text and are left out",
        f"2 rows written to {tmp_path / 'out.jsonl'}",
    ]


def test_score_takes_another_router_by_name(
    run: Run, tmp_path: Path, config: Path, prompts: Path, rates: list[float]
) -> None:
    output = tmp_path / "scored.jsonl"
    assert run("score", "--input", prompts, "--output", output, "--config", config, "--router", "odds").code == 0
    assert [json.loads(line)["strong_win_rate"] for line in output.read_text("utf-8").splitlines()] != rates


def test_score_without_a_configuration_uses_the_router_that_ships(
    run: Run, tmp_path: Path, prompts: Path, static_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "DEFAULT_ARTIFACT", static_artifact)
    assert run("score", "--input", prompts, "--output", tmp_path / "scored.jsonl").code == 0


def test_score_writes_what_it_read_even_if_no_encoding_can(run: Run, tmp_path: Path, config: Path) -> None:
    """JSON can spell half of a surrogate pair, which UTF-8 cannot."""
    path = tmp_path / "odd.jsonl"
    path.write_text('{"prompt": "half \\ud83d of a face"}\n')
    ran = run("score", "--input", path, "--output", tmp_path / "out.jsonl", "--config", config)
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["prompt"] == "half \ud83d of a face"


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_score_of_an_empty_file_is_an_error(run: Run, tmp_path: Path, config: Path, content: str) -> None:
    (tmp_path / "empty.jsonl").write_text(content)
    ran = run("score", "--input", tmp_path / "empty.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    assert f"{tmp_path / 'empty.jsonl'}: has no rows" in complaint(ran)
    assert not (tmp_path / "out.jsonl").exists()


def test_score_tells_a_bad_line_and_keeps_the_old_output(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(f'{{"prompt": "x"}}\n{{"promt": "{SECRET}"}}\n')
    (tmp_path / "out.jsonl").write_text("old")
    ran = run("score", "--input", tmp_path / "bad.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    err = complaint(ran)
    assert f"{tmp_path / 'bad.jsonl'}:2: has no 'prompt', only 'promt'; is 'promt' meant to be it?" in err
    assert SECRET not in err
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_score_tells_a_prompt_that_fails_and_keeps_the_old_output(
    run: Run, tmp_path: Path, config: Path, nan_character: str
) -> None:
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"prompt": "x"}) + "\n" + json.dumps({"prompt": f"{SECRET}{nan_character}"})
    )
    (tmp_path / "out.jsonl").write_text("old")
    ran = run("score", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    assert ran.code == 1
    assert ran.out == "", "what is logged goes to stderr"
    assert f"routing-service: error: {tmp_path / 'in.jsonl'}:2: " in ran.err
    assert SECRET not in ran.err
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_a_router_that_breaks_on_a_prompt_does_not_print_it(
    run: Run, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: StaticRouter, texts: list[str], models: Any) -> Any:
        if SECRET in texts:
            raise RuntimeError(f"cannot score {texts}")
        return score(self, texts, models)

    score = StaticRouter.score
    monkeypatch.setattr(StaticRouter, "score", fail)
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": SECRET}))
    ran = run("score", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    assert ran.code == 1
    assert ran.out == ""
    assert "router_failed" in ran.err
    assert SECRET not in ran.err


@pytest.mark.parametrize("name", ["missing/out.jsonl", "."])
def test_score_tells_an_output_that_cannot_be_written(
    run: Run, tmp_path: Path, config: Path, prompts: Path, name: str
) -> None:
    err = complaint(run("score", "--input", prompts, "--output", tmp_path / name, "--config", config))
    assert f"{tmp_path / name}: cannot be written: " in err


def test_score_tells_a_missing_input(run: Run, tmp_path: Path, config: Path) -> None:
    ran = run("score", "--input", tmp_path / "no.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    assert f"{tmp_path / 'no.jsonl'}: cannot be read: No such file or directory" in complaint(ran)


def test_score_can_write_to_a_pipe(config: Path, prompts: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "routing_service", "score", "--input", str(prompts), "--output", "/dev/stdout"]
    ran = subprocess.run([*command, "--config", str(config), "--router", "odds"], capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line)["prompt"] for line in ran.stdout.splitlines()] == PROMPTS


@pytest.mark.parametrize("strip", ["default", "none"])
def test_score_reads_what_a_service_reads(
    run: Run, tmp_path: Path, config: Path, rates: list[float], strip: str
) -> None:
    wrapped = [f"<state>\n{'x ' * 50}\n</state>\n{prompt}" for prompt in PROMPTS]
    config.write_text(config.read_text() + f"\nasks: {{strip: {strip}}}\n")
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "user", "content": "Begin."}]} for text in wrapped
    ]
    path = write_rows(tmp_path / "p.jsonl", rows)
    ran = run("score", "--input", path, "--output", tmp_path / "out.jsonl", "--config", config)
    assert ran.code == 0, ran
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert ([row["strong_win_rate"] for row in scored] == rates) == (strip == "default")


def test_score_scores_what_rules_decide(
    run: Run, tmp_path: Path, config: Path, prompts: Path, rates: list[float]
) -> None:
    config.write_text(config.read_text() + "\nasks: {rules: [{max_length: 100000, tier: weak}]}\n")
    assert run("score", "--input", prompts, "--output", tmp_path / "out.jsonl", "--config", config).code == 0
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["strong_win_rate"] for row in scored] == rates
