"""Without the extras of the lab, help is there, and each command says at once what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.benchmarks import write_lines

# What the extras bring: as if none of it were installed.
FINETUNE = ("torch", "transformers", "peft", "huggingface_hub", "sentencepiece", "pyarrow", "httpx")
TRAIN_AND_PLOTS = ("lightgbm", "sklearn", "scipy", "onnx", "safetensors", "matplotlib", "pandas")
SCRIPT = f"""
import sys
sys.modules.update(dict.fromkeys({FINETUNE + TRAIN_AND_PLOTS!r}))
from routing_service.cli import main
sys.exit(main(sys.argv[1:]))
"""
TYPES = ["static", "mf", "bert", "causal_llm"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("arguments", [["train"], *(["train", kind] for kind in TYPES), ["evaluate"]])
def test_help_needs_no_extra(arguments: list[str]) -> None:
    ran = run(*arguments, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("usage: routing-service ")


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        ("static", "lightgbm", "train"),
        ("mf", "onnx", "train"),
        ("bert", "torch", "finetune"),
        ("causal_llm", "torch", "finetune"),
    ],
)
def test_a_training_says_what_to_install_before_it_reads_anything(
    tmp_path: Path, kind: str, package: str, extra: str
) -> None:
    checkpoint = ["--checkpoint", "a/b"] if extra == "finetune" else []
    ran = run("train", kind, *checkpoint, "--data", tmp_path / "none", "--output", tmp_path / "out")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"routing-service: error: training {kind} needs {package}; run: pip install 'routing-lab[{extra}]' "
        f"(in a checkout: pip install './lab[{extra}]')\n"
    )


def test_evaluate_works_and_says_what_its_pictures_need(tmp_path: Path) -> None:
    rows = [{"prompt": f"prompt {i}", "scores": {"big": i % 3 > 0, "small": i % 4 > 1}} for i in range(40)]
    own = write_lines(tmp_path / "own.jsonl", rows)
    command = ["evaluate", "--benchmark", own, "--strong-model", "big", "--weak-model", "small"]
    command += ["--cache-dir", tmp_path / "cache"]
    ran = run(*command)
    assert ran.returncode == 0, ran.stderr
    assert "own: 40 prompts" in ran.stdout
    ran = run(*command, "--output", tmp_path / "out")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "routing-service: error: --output needs matplotlib; run: pip install 'routing-lab[plots]' "
        "(in a checkout: pip install './lab[plots]')\n"
    )
    assert not (tmp_path / "out").exists()
