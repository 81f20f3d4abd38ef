"""`train bert` and `train causal_llm` on the command line: usage, and what is said where torch is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import routing_lab.training.finetune as package
import structlog

from routing_service.cli import main

TYPES = ["bert", "causal_llm"]


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """Commands log to the stderr of their time, which is closed after the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch were not installed."""
    for name in [name for name in sys.modules if name.startswith(f"{package.__name__}.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(package, name.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize("kind", TYPES)
def test_without_torch_the_extra_is_named(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--checkpoint", "a/b", "--data", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(["train", kind, *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "training needs torch; run: pip install 'routing-lab[finetune]' (in a checkout: pip " in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("kind", TYPES)
def test_help_has_an_example_and_every_part_of_the_recipe(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", kind, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Example: routing-service train {kind} --checkpoint" in text
    for option in ("--epochs", "--learning-rate", "--lora-rank", "--report-on", "--work", "--restart", "--finish"):
        assert option in text


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--epochs", "0", "'0' is no number from 1 to 1000000"),
        ("--learning-rate", "-1", "'-1' is no number of 0 or more"),
        ("--learning-rate", "inf", "'inf' is no number of 0 or more"),
        ("--warmup-share", "1.5", "'1.5' is no number from 0 to 1"),
        ("--lora-rank", "-4", "'-4' is no rank from 0 to 1024"),
        ("--ties", "none", "invalid choice: 'none'"),
        ("--quantize", "int4", "invalid choice: 'int4'"),
    ],
)
def test_wrong_usage_is_told(option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "bert", "--checkpoint", "c", "--data", "d", "--output", "o", f"{option}={value}"])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
