"""A training whose process dies goes on where it was, and its artifact is the one it would have made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from routing_lab.cli.train import stopping_on_sigterm
from routing_lab.training.work import CHECKPOINT

from routing_service.artifacts.manifest import read_manifest
from tests.support.training import WriteBattles

EPOCHS = "60"


def test_a_sigterm_is_an_interruption_that_is_cleaned_up() -> None:
    cleaned = []

    def train() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)  # the signal ends it
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopping_on_sigterm():
        train()
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(sys.platform == "win32", reason="not here: Windows has no SIGKILL")
def test_a_killed_training_goes_on(tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles) -> None:
    command = [sys.executable, "-m", "routing_service", "train", "mf", "--data", str(write_battles(1500))]
    command += ["--strong-model", "big", "--weak-model", "small", "--embeddings", str(embeddings_folder)]
    command += ["--epochs", EPOCHS, "--patience", EPOCHS, "--output"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    checkpoint = tmp_path / "out.work" / CHECKPOINT
    process = subprocess.Popen([*command, str(tmp_path / "out")], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, said
    assert not (tmp_path / "out").exists()

    again = subprocess.run(
        [*command, str(tmp_path / "out")], env=environment, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 0, again.stderr
    assert "an interrupted training goes on after epoch" in again.stderr
    whole = subprocess.run([*command, str(tmp_path / "whole")], env=environment, capture_output=True, timeout=60)
    assert whole.returncode == 0
    assert read_manifest(tmp_path / "out") == read_manifest(tmp_path / "whole")
    assert not (tmp_path / "out.work").exists()
