"""`train bert` and `train causal_llm` on the command line: usage."""

from __future__ import annotations

import pytest

from routing_service.cli import main

TYPES = ["bert", "causal_llm"]


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
        ("--epochs", "0", "'0' is not a whole number from 1 to 1000000"),
        ("--learning-rate", "-1", "'-1' is not a number of 0 or more"),
        ("--learning-rate", "inf", "'inf' is not a number of 0 or more"),
        ("--warmup-share", "1.5", "'1.5' is not a number from 0 to 1"),
        ("--lora-rank", "-4", "'-4' is not a whole number from 0 to 1024"),
        ("--ties", "none", "invalid choice: 'none'"),
        ("--quantize", "int4", "invalid choice: 'int4'"),
    ],
)
def test_wrong_usage_is_told(option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "bert", "--checkpoint", "c", "--data", "d", "--output", "o", f"{option}={value}"])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
