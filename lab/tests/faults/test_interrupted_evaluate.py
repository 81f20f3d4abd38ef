"""An evaluation that is interrupted or killed goes on where it was, and leaves no process behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.benchmarks import write_lines
from tests.support.waiting import PATIENCE_SECONDS, eventually

SLOW = """
import os, time
from routing_service.models import ROUTELLM_PAIR
from routing_service.routers.base import Router, Scores

class Slow(Router):
    type = "slow"

    @classmethod
    def build(cls, context):
        return cls(models=context.models, revision="1")

    def score(self, texts, models):
        time.sleep(0.04)
        with open(os.environ["BATCHES"], "a") as log:
            log.write(".")
        return Scores([len(text) / 100 for text in texts], None, [False] * len(texts))
"""


@dataclass(frozen=True)
class SlowRun:
    """A run of about two seconds, with a router of an installed package, that logs each batch of 64 in `batches`."""

    command: list[str]
    batches: Path
    kept: Path

    def start_and_wait_until_something_is_kept(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: any(self.kept.glob("*.npz")) or process.poll() is not None, "something is kept")
        assert process.poll() is None
        return process


@pytest.fixture
def slow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlowRun:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    info = tmp_path / "site/slow_router-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-router\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[routing_service.routers]\nslow = slow_router_of_a_test:Slow\n")
    (tmp_path / "site/slow_router_of_a_test.py").write_text(SLOW)
    (tmp_path / "c.yaml").write_text("{models: {strong: big, weak: small}, routers: {slow: {type: slow}}}")
    rows: list[Any] = [{"prompt": f"{i}", "scores": {"big": i % 3, "small": i % 2}} for i in range(512 * 6)]
    own = write_lines(tmp_path / "own.jsonl", rows)
    monkeypatch.setenv("BATCHES", str(tmp_path / "batches"))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path / "site"), *filter(None, sys.path)]))
    command = [sys.executable, "-m", "routing_service", "evaluate", "--config", str(tmp_path / "c.yaml")]
    kept = tmp_path / "cache/routing-service/evaluate"
    return SlowRun([*command, "--benchmark", str(own)], tmp_path / "batches", kept)


def test_a_run_that_is_interrupted_resumes(slow_run: SlowRun) -> None:
    process = slow_run.start_and_wait_until_something_is_kept()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (1, "", "routing-service: error: interrupted\n")
    first = len(slow_run.batches.read_text())
    assert subprocess.run(slow_run.command, capture_output=True, check=True).stdout
    # All but the piece of work that was interrupted was scored once.
    assert first < 48 <= len(slow_run.batches.read_text()) < 48 + 8


def test_a_run_that_is_killed_leaves_no_process_behind_and_resumes(slow_run: SlowRun) -> None:
    process = slow_run.start_and_wait_until_something_is_kept("--parallel", "2")
    process.kill()
    # Returns when the last process that could write to the pipes has ended.
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGKILL
    first = len(slow_run.batches.read_text())
    assert subprocess.run(slow_run.command, capture_output=True, check=True).stdout
    assert len(slow_run.batches.read_text()) - first < 48
