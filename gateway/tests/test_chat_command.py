"""`chat`: the page, decisions and answers with nothing but itself, and what is told when it cannot start."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Run, complaint

from .chat_process import Chat, start

__all__ = ["start"]

for _module in ("aiohttp", "starlette", "uvicorn"):
    pytest.importorskip(_module, reason="the package routing-gateway is not installed")

SECRET = "a secret prompt"


def test_the_page_decisions_and_answers_are_there_without_any_endpoint(start: Callable[..., Chat]) -> None:
    chat = start("--no-browser")
    with chat.open("/") as page:
        assert b"<title>Routing</title>" in page.read()
    told = chat.told()
    assert told["echo"] is True
    prices = {model["name"]: model["input_price"] for model in told["models"]}
    assert prices[told["strong_model"]] > prices[told["weak_model"]] > 0
    for threshold, expected in ((0, told["strong_model"]), (1, told["weak_model"])):
        body = {"model": f"router-static-{threshold}", "messages": [{"role": "user", "content": SECRET}]}
        with chat.open("/v1/chat/completions", body) as answer:
            assert answer.headers["x-routing-model"] == expected
            assert SECRET in json.load(answer)["choices"][0]["message"]["content"]
    chat.process.send_signal(signal.SIGINT)
    code, out, err = chat.ended()
    assert (code, err) == (0, "")
    assert f"Chat page:   {chat.url}\n" in out
    assert "router-static-50pct" in out
    assert SECRET not in out


def test_own_endpoints_and_own_routers(start: Callable[..., Chat], config: Path, tmp_path: Path) -> None:
    endpoints = tmp_path / "gateway.yaml"
    endpoints.write_text(
        """
service: 127.0.0.1:1
strong_model: big
weak_model: small
models:
  big: {base_url: "http://127.0.0.1:9/v1", input_price: 2}
  small: {base_url: "http://127.0.0.1:9/v1"}
"""
    )
    chat = start("--no-browser", "--config", config, "--gateway-config", endpoints)
    told = chat.told()
    assert (told["echo"], told["strong_model"]) == (False, "big")
    assert {router["name"] for router in told["routers"]} == {"static", "odds"}
    assert [policy["name"] for policy in told["policies"]] == ["cheap", "even"]
    with chat.open("/api/decide", {"prompt": "hello", "router": "odds", "threshold": 0}) as answer:
        assert json.load(answer)["model"] == "big"
    chat.process.terminate()
    code, out, _ = chat.ended()
    assert code == 0
    assert "offline echo" not in out


def test_a_port_that_is_taken_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = complaint(run("chat", "--no-browser", "--port", port))
    assert f"cannot listen on 127.0.0.1:{port}: address already in use; stop" in err
    assert "--port" in err


def test_a_ready_file_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ready"
    err = complaint(run("chat", "--no-browser", "--port", 0, "--ready-file", path))
    assert f"--ready-file {path} cannot be written: no such file or directory" in err
    assert "listen" not in err


def test_a_configuration_that_is_wrong_is_told_as_serve_tells_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text("routers: {mine: {type: sttic}}")
    err = complaint(run("chat", "--no-browser", "--port", 0, "--config", path))
    assert "the decision service did not start: " in err
    assert "sttic" in err


@pytest.mark.parametrize("text", ["models: [", "models: {a: {base_url: 3}}", "strong_model: a"])
def test_endpoints_that_are_wrong_are_told(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    assert "gateway" in complaint(run("chat", "--no-browser", "--port", 0, "--gateway-config", path))


@pytest.mark.parametrize("port", ["x", "-1", "65536"])
def test_a_port_that_is_none_is_wrong_usage(run: Run, port: str) -> None:
    assert "not a port from 0 to 65535" in complaint(run("chat", f"--port={port}"), code=2)


def test_help_has_an_example(run: Run) -> None:
    assert "Example: routing-service chat --gateway-config gateway.yaml" in " ".join(run("chat", "--help").out.split())
