"""What tests of the command line share: how a run ends, and what is routed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from routing_service.artifacts.loading import open_artifact
from routing_service.cli import main
from routing_service.routers.static import StaticRouter

PROMPTS = ["hello world", "Prove it, café 中文!", "x", "the hello the world 42", "What?"]
SECRET = "a secret prompt"


class Ran(NamedTuple):
    """The exit code, and what was written to standard output and standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def complaint(ran: Ran, code: int = 1) -> str:
    """The one line that says what is wrong."""
    assert ran.code == code, ran
    assert ran.out == "", ran
    assert ran.err.count("\n") == 1, ran
    assert "Traceback" not in ran.err, ran
    assert ran.err.startswith("routing-service"), ran
    return ran.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process: `run("score", "--input", path)`."""

    def run_here(*arguments: Any) -> Ran:
        capsys.readouterr()  # what fixtures logged is not the command's
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ran(code, *capsys.readouterr())

    return run_here


@pytest.fixture
def config(tmp_path: Path, static_artifact: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text(
        f"""
routers:
  static: {{type: static, artifact: '{static_artifact}'}}
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
