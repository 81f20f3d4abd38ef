from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from routing_service.artifacts.loading import open_artifact
from routing_service.calibration.thresholds import share_at, threshold_for_share
from routing_service.cli import main
from routing_service.routers import static
from routing_service.routers.static import StaticRouter

PROMPTS = ["hello world", "Prove it, café 中文!", "x", "the hello the world 42", "What?"]
SECRET = "a secret prompt"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command line in this process: `run("score", "--input", path)`."""

    def run_here(*arguments: Any) -> Ran:
        capsys.readouterr()  # what fixtures logged is not the command's
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ran(code, *capsys.readouterr())

    yield run_here
    structlog.reset_defaults()  # commands log to the stderr of their time


@pytest.fixture
def config(tmp_path: Path, static_artifact: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text(
        f"""
routers:
  static: {{type: static, artifact: {static_artifact}}}
  odds: {{type: random, seed: 1, by_prompt: true}}
policies:
  cheap: {{strong_share: 0.25}}
  even: {{router: odds, threshold: 0.5}}
"""
    )
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": index, "prompt": prompt, "note": "é"} for index, prompt in enumerate(PROMPTS)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def rates(static_artifact: Path) -> list[float]:
    """What the tiny artifact says of PROMPTS."""
    router = StaticRouter(open_artifact(static_artifact, "static"))
    return list(router.score(PROMPTS, router.models).strong_win_rates)


def complaint(ran: Ran, code: int = 1) -> str:
    """The one line that says what is wrong."""
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    assert ran.err.startswith("routing-service")
    return ran.err


# --- usage --------------------------------------------------------------------------------------------------

COMMANDS = [["serve"], ["decide"], ["score"], ["calibrate"], ["train", "static"], ["check-config"], ["health"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(run: Run, command: list[str]) -> None:
    ran = run(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Example: routing-service {' '.join(command)}" in " ".join(ran.out.split())


def test_help_lists_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(command[0] in ran.out for command in COMMANDS)


def test_the_version_is_told(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").out == f"routing-service {version('routing-service')}\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "COMMAND"),
        (["scoer"], "scoer"),
        (["score"], "--input, --output"),
        (["score", "--input", "a"], "--output"),
        (["calibrate"], "--strong-model-pct"),
        (["calibrate", "--strong-model-pct"], "expected at least one argument"),
        (["calibrate", "--strong-model-pct", "50"], "'50' is no number from 0 to 1"),
        (["calibrate", "--strong-model-pct", "0.5", "nan"], "'nan' is no number from 0 to 1"),
        (["calibrate", "--strong-model-pct", "-0.1"], "no number from 0 to 1"),
        (["calibrate", "--strong-model-pct", "half"], "'half' is no number from 0 to 1"),
        (["check-config"], "F"),
        (["check-config", "a", "b"], "unrecognized arguments: b"),
        (["serve", "--address", "localhost"], "write HOST:PORT"),
        (["serve", "--workers", "0"], "'0' is no number of processes from 1 to 256"),
        (["serve", "--workers", "9" * 5000], "--workers"),
        (["decide", "x", "--threshold", "0.5", "--strong-share", "0.5"], "not allowed with argument"),
        (["train"], "TYPE"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line_that_names_the_help(
    run: Run, arguments: list[str], problem: str
) -> None:
    err = complaint(run(*arguments), code=2)
    assert problem in err
    assert "--help`" in err


# --- output -------------------------------------------------------------------------------------------------

CHECK = [sys.executable, "-m", "routing_service", "check-config"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not here: only Linux has a device that is always full")
def test_an_output_that_is_full_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("routers: {odds: {type: random}}")
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([*CHECK, tmp_path / "c.yaml"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr == "routing-service: error: standard output cannot be written: No space left on device\n"


def test_a_reader_of_the_output_that_has_gone_is_no_error_to_speak_of(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("routers: {odds: {type: random}}")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run([*CHECK, tmp_path / "c.yaml"], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, b"")


# --- score --------------------------------------------------------------------------------------------------


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


def test_score_may_write_over_its_input(run: Run, config: Path, prompts: Path) -> None:
    assert run("score", "--input", prompts, "--output", prompts, "--config", config).code == 0
    assert all("strong_win_rate" in line for line in prompts.read_text("utf-8").splitlines())


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
    ran = run("score", "--input", path, "--output", path, "--config", config)
    assert ran.code == 0, ran.err
    assert json.loads(path.read_text("utf-8"))["prompt"] == "half \ud83d of a face"


def test_score_of_an_empty_file_is_an_empty_file(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    ran = run("score", "--input", tmp_path / "empty.jsonl", "--output", tmp_path / "out.jsonl", "--config", config)
    assert (ran.code, (tmp_path / "out.jsonl").read_text()) == (0, "")


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
    assert "routing-service: error: prompt 2: " in ran.err
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


# --- calibrate ----------------------------------------------------------------------------------------------


def test_calibrate_reads_the_router_s_own_table(run: Run, config: Path) -> None:
    ran = run("calibrate", "--router", "static", "--strong-model-pct", "0.5", "0.25", "--config", config)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "For 50.0% strong model calls for static, threshold = 0.5\n"
        "For 25.0% strong model calls for static, threshold = 0.7\n"
    )


@pytest.mark.parametrize("share", ["0.07", "0.29", "0.55", "0.57", "0.123"])
def test_calibrate_writes_percentages_as_people_do(run: Run, config: Path, share: str) -> None:
    ran = run("calibrate", "--strong-model-pct", share, "--config", config)
    percent = {"0.123": "12.3"}.get(share, f"{int(share[2:])}.0")
    assert ran.out.startswith(f"For {percent}% strong model calls for static, threshold = ")


def test_calibrate_rounds_to_five_decimals(run: Run, config: Path) -> None:
    assert run("calibrate", "--strong-model-pct", "0.3333", "--config", config).out.endswith("threshold = 0.63336\n")


def test_calibrate_as_json(run: Run, config: Path, static_artifact: Path) -> None:
    manifest = open_artifact(static_artifact, "static").manifest
    assert manifest.calibration is not None
    ran = run("calibrate", "--strong-model-pct", "0.2", "--config", config, "--json")
    assert json.loads(ran.out) == {
        "router": "static",
        "router_revision": manifest.revision,
        "source": "a test",
        "sample_size": 5,
        "points": [{"strong_share": 0.2, "threshold": threshold_for_share(manifest.calibration.quantiles, 0.2)}],
    }


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "txt"])
def test_calibrate_on_prompts_of_one_s_own(
    run: Run, tmp_path: Path, config: Path, prompts: Path, rates: list[float], suffix: str
) -> None:
    path = prompts
    if suffix != "jsonl":
        path = tmp_path / f"prompts.{suffix}"
        lines = [f'"{prompt}"' for prompt in PROMPTS] if suffix == "csv" else PROMPTS
        path.write_text("\n".join((["prompt"] if suffix == "csv" else []) + lines), "utf-8")
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", path, "--config", config, "--json")
    answer = json.loads(ran.out)
    assert (answer["source"], answer["sample_size"]) == (str(path), 5)
    (point,) = answer["points"]
    assert point["realised_share"] == pytest.approx(0.4)
    assert share_at(rates, point["threshold"]) == pytest.approx(0.4)


def test_calibrate_notes_a_share_that_equal_scores_make_impossible(run: Run, tmp_path: Path, config: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text("hello\n" * 10)
    ran = run("calibrate", "--strong-model-pct", "0.3", "--input", path, "--config", config)
    assert ran.code == 0
    assert ran.out == "For 30.0% strong model calls for static, threshold = 1.0\n"
    assert "note: equal scores make that 0.0% on this sample" in ran.err


def test_calibrate_tells_an_unknown_router(run: Run, config: Path) -> None:
    err = complaint(run("calibrate", "--router", "sttic", "--strong-model-pct", "0.5", "--config", config))
    assert "no router is named 'sttic'; did you mean 'static'?" in err


def test_calibrate_tells_a_router_without_a_table(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path]
) -> None:
    build_artifact(tmp_path / "bare", calibration=None)
    (tmp_path / "c.yaml").write_text("routers: {bare: {type: static, artifact: bare}}")
    err = complaint(run("calibrate", "--strong-model-pct", "0.5", "--config", tmp_path / "c.yaml"))
    assert "router 'bare' has no calibration table; give prompts of your own with --input" in err


def test_calibrate_tells_a_file_without_prompts(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    ran = run("calibrate", "--strong-model-pct", "0.5", "--input", tmp_path / "empty.txt", "--config", config)
    assert f"{tmp_path / 'empty.txt'}: has no prompts; calibrating needs at least one" in complaint(ran)


# --- check-config and configurations that are wrong ---------------------------------------------------------


def test_check_config_lists_what_it_found(run: Run, config: Path, static_artifact: Path) -> None:
    ran = run("check-config", config)
    revision = open_artifact(static_artifact, "static").manifest.revision
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert f"router static: static, revision {revision}, big / small, default" in lines
    assert any(line.startswith("router odds: random, revision ") for line in lines)
    assert "policy cheap: router static, threshold 0.70000" in lines
    assert "policy even: router odds, threshold 0.50000" in lines
    assert lines[-1] == f"{config} is valid"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("serverr: {}\n", "c.yaml:1: serverr: is not a known key; did you mean 'server'?"),
        ("routers:\n  a:\n    type: rndom\n", "c.yaml:3: routers.a.type: no router type is named 'rndom'"),
        ("routers:\n  a:\n    type: random\n    sede: 1\n", "c.yaml:4: routers.a.sede: is not a known key"),
        ("routers: {a: {type: static, artifact: nowhere}}\n", "nowhere/manifest.json is missing"),
        ("a: [\n", "c.yaml:2: is not valid YAML"),
        ("a: \x00\n", "c.yaml:1: is not valid YAML"),
        ("server: {workers: !!int ''}\n", "c.yaml:1: server.workers: "),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert problem in complaint(run("check-config", tmp_path / "c.yaml"))


def test_check_config_tells_a_missing_file(run: Run, tmp_path: Path) -> None:
    assert "c.yaml: cannot be read: No such file or directory" in complaint(run("check-config", tmp_path / "c.yaml"))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_check_config_tells_a_corrupt_artifact_by_its_file(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path], name: str
) -> None:
    path = build_artifact(tmp_path / "mine") / name
    path.write_bytes(path.read_bytes().replace(b"o", b"0", 1))
    (tmp_path / "c.yaml").write_text("routers: {mine: {type: static, artifact: mine}}")
    assert str(path) in complaint(run("check-config", tmp_path / "c.yaml"))


def test_a_policy_that_needs_a_missing_table_is_told_with_its_file(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path]
) -> None:
    build_artifact(tmp_path / "bare", calibration=None)
    (tmp_path / "c.yaml").write_text(
        "routers: {bare: {type: static, artifact: bare}}\npolicies:\n  cheap: {strong_share: 0.2}\n"
    )
    err = complaint(run("check-config", tmp_path / "c.yaml"))
    assert "policies.cheap.strong_share: router 'bare' has no calibration table" in err
    assert "c.yaml:3: " in err
