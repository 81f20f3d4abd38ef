"""Without the extras of the lab, help is there, and each command says at once what to install."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.benchmarks import write_lines
from tests.support.without import Ran, run_without

# What the extras bring: as if none of it were installed.
FINETUNE = ("torch", "transformers", "peft", "huggingface_hub", "sentencepiece", "pyarrow", "httpx")
TRAIN_AND_PLOTS = ("lightgbm", "sklearn", "scipy", "onnx", "safetensors", "matplotlib", "pandas")
TYPES = ["static", "mf", "bert", "causal_llm"]
HELPS = [["train"], *(["train", kind] for kind in TYPES), ["evaluate"]]


def run(*commands: Sequence[object]) -> list[Ran]:
    return run_without((*FINETUNE, *TRAIN_AND_PLOTS), "routing_service.cli", *commands)


def test_help_needs_no_extra() -> None:
    for arguments, ran in zip(HELPS, run(*([*arguments, "--help"] for arguments in HELPS)), strict=True):
        assert (ran.returncode, ran.stderr) == (0, ""), arguments
        assert ran.stdout.startswith("usage: routing-service ")
        assert arguments[-1] in ran.stdout


def test_a_training_says_what_to_install_before_it_reads_anything(tmp_path: Path) -> None:
    needs = {
        "static": ("lightgbm", "train"),
        "mf": ("onnx", "train"),
        "bert": ("torch", "finetune"),
        "causal_llm": ("torch", "finetune"),
    }
    files = ["--data", tmp_path / "none", "--output", tmp_path / "out"]
    finetune = ["--checkpoint", "a/b", *files]
    commands = [["train", kind, *(finetune if extra == "finetune" else files)] for kind, (_, extra) in needs.items()]
    for (kind, (package, extra)), ran in zip(needs.items(), run(*commands), strict=True):
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
    without, ran = run(command, [*command, "--output", tmp_path / "out"])
    assert without.returncode == 0, without.stderr
    assert "own: 40 prompts" in without.stdout
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "routing-service: error: --output needs matplotlib; run: pip install 'routing-lab[plots]' "
        "(in a checkout: pip install './lab[plots]')\n"
    )
    assert not (tmp_path / "out").exists()
