"""The command line in this process, with a configuration, prompts and their win rates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from routing_service.artifacts.loading import open_artifact
from routing_service.cli import main
from routing_service.routers.static import StaticRouter
from tests.support.cli import PROMPTS, Ran, Run


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
