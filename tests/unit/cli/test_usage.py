"""What every command has: help, exit codes, and an output that may fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from routing_service.cli.commands import installed
from tests.support.cli import Run, complaint

COMMANDS = [
    ["serve"],
    ["decide"],
    ["score"],
    ["calibrate"],
    ["train", "static"],
    ["train", "mf"],
    ["check-config"],
    ["health"],
]
CHECK = [sys.executable, "-m", "routing_service", "check-config"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(run: Run, command: list[str]) -> None:
    ran = run(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Example: routing-service {' '.join(command)}" in " ".join(ran.out.split())


def test_help_lists_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(command[0] in ran.out for command in COMMANDS)


@pytest.mark.parametrize("command", installed())
def test_routers_is_taken_wherever_router_is(run: Run, command: str) -> None:
    told = run(command, "--help").out
    assert ("--router R" in told) <= ("--routers R" in told)


def test_routers_means_router(run: Run, config: Path) -> None:
    names = ("--router", "--routers")
    one, other = (run("calibrate", name, "static", "--strong-model-pct", "0.5", "--config", config) for name in names)
    assert one == other
    assert "for static, threshold" in one.out
    unknown = run("calibrate", "--routers", "sttic", "--strong-model-pct", "0.5", "--config", config)
    assert "'sttic'; did you mean 'static'?" in complaint(unknown)


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
        (["calibrate", "--strong-model-pct", "50"], "'50' is not a number from 0 to 1"),
        (["calibrate", "--strong-model-pct", "0.5", "nan"], "'nan' is not a number from 0 to 1"),
        (["calibrate", "--strong-model-pct", "-0.1"], "not a number from 0 to 1"),
        (["calibrate", "--strong-model-pct", "half"], "'half' is not a number from 0 to 1"),
        (["check-config"], "F"),
        (["check-config", "a", "b"], "unrecognized arguments: b"),
        (["serve", "--address", "localhost"], "write localhost:50051"),
        (["serve", "--address", "127.0.0.1:99999"], "'99999' is not a port"),
        (["serve", "--address", "unix:"], "write unix:PATH"),
        (["serve", "--metrics-address", "unix:/x"], "is a socket; write HOST:PORT"),
        (["health", "--address", "http://127.0.0.1:50051"], "write 127.0.0.1:50051, without http://"),
        (["decide", "x", "--address", "127.0.0.1:0"], "port 0 is for listening only"),
        (["calibrate", "--strong-model-pct", "0.5", "--address", "dns:///router"], "it has no port"),
        (["serve", "--workers", "0"], "'0' must be a number of processes from 1 to 256"),
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


def test_a_terminal_without_unicode_shows_escapes(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("models: {strong: größe, weak: 小}\nrouters: {odds: {type: random}}", "utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run([*CHECK, tmp_path / "c.yaml"], capture_output=True, text=True, timeout=60, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "gr\\xf6\\xdfe / \\u5c0f" in ran.stdout
