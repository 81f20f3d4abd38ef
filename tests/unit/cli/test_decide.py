"""`decide` against a service, and against none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from routing_client.testing import FakeService, fake_server

from tests.support.cli import Run, complaint
from tests.support.services import StartService


@pytest.fixture
def address() -> Iterator[str]:
    """A fake service with win rates spread evenly from 0 to 1."""
    with fake_server(FakeService({"hard": 0.9}, default=0.3, models=("big", "small"))) as address:
        yield address


def test_it_prints_the_decision(run: Run, address: str) -> None:
    ran = run("decide", "hard", "--address", address, "--threshold", "0.5")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("big  (strong, strong win rate 0.90000, threshold 0.50000, ")


@pytest.mark.parametrize(("threshold", "model"), [("0.001", "strong"), ("0.999", "weak")])
def test_a_threshold_that_splits_nothing_is_warned_of(run: Run, address: str, threshold: str, model: str) -> None:
    ran = run("decide", "hard", "--address", address, "--threshold", threshold)
    assert ran.code == 0
    assert f"sends more than 99 % of prompts to the {model} model" in ran.err
    assert "--strong-share 0.5" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("threshold", ["0", "1", "0.02", "0.98"])
def test_others_are_not(run: Run, address: str, threshold: str) -> None:
    assert run("decide", "hard", "--address", address, "--threshold", threshold).err == ""


def test_without_a_service_it_says_what_health_says(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = f"127.0.0.1:{listener.getsockname()[1]}"
    told = complaint(run("health", "--address", free))
    assert complaint(run("decide", "hard", "--address", free)) == told
    assert "is `routing-service serve` running?" in told


def test_what_was_read_is_shown(run: Run, start_service: StartService) -> None:
    address = start_service().address
    prompt = "<state>\nopen: é.py\n</state>\nWas ist das?\nUnd warum?"
    ran = run("decide", prompt, "--address", address, "--explain")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1:] == [
        "read: bytes 29 to 52 of 52",
        "  Was ist das?",
        "  Und warum?",
        "topic: info",
    ]
    shown = json.loads(run("decide", prompt, "--address", address, "--explain", "--json").out)
    assert shown["read"] == "Was ist das?\nUnd warum?"
    assert shown["explanation"]["spans"] == [{"message": 0, "part": 0, "begin": 29, "end": 52}]
    assert "read" not in json.loads(run("decide", prompt, "--address", address, "--json").out)


def test_a_rule_is_named(run: Run, start_service: StartService) -> None:
    service = start_service(config="asks: {rules: [{name: titles, pattern: '^Title', tier: weak}]}")
    ran = run("decide", "Title, please", "--address", service.address)
    assert ran.out == "mixtral-8x7b-instruct-v0.1  (weak, strong win rate none, threshold none, static, rule titles)\n"
