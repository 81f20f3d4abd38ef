"""No key and no prompt is in any log, whatever happens, at the level that logs most."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
from routing_client import UnavailableError
from routing_client.endpoints import Endpoint
from routing_client.testing import FakeService
from routing_gateway.attempts import Attempts
from routing_gateway.echo import RunningEcho
from routing_gateway.logs import Repeats

from .conftest import Gateway, MakeGateway, StartGateway
from .scripted import ScriptedUpstream

PROMPT, CALLER_KEY, OWN_KEY = "open-sesame-prompt", "sk-caller-secret", "sk-own-secret"
HEADERS = {"Authorization": f"Bearer {CALLER_KEY}"}


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}


def test_the_commands_log(start_gateway: StartGateway, fake_address: str, echo: RunningEcho) -> None:
    arguments = (
        "--service",
        fake_address,
        "--base-url",
        echo.base_url,
        "--api-key-env",
        "OWN_KEY",
        "--log-level",
        "debug",
    )
    gateway = start_gateway(
        *arguments, "--strong-model", "big", "--weak-model", "small", environment={"OWN_KEY": OWN_KEY}
    )

    def ask(asked: Any, path: str = "/v1/chat/completions") -> int:
        return gateway.request("POST", path, asked, HEADERS).status

    wrong: Any = {"model": "router-fake-0.5", "messages": [{"role": PROMPT, "content": PROMPT}]}
    assert ask(body("router-fake-0.5")) == 200
    assert ask(body("router-fake-0.5", stream=True)) == 200
    assert ask(body("big#status=500")) == 500
    assert ask(body("big#status=429")) == 429
    assert ask(wrong) == 400
    assert ask(f'{{"prompt": "{PROMPT}"'.encode()) == 400
    assert ask(body("router-nowhere")) == 404
    assert ask({"prompt": PROMPT, "threshold": 7}, "/api/decide") == 400
    assert ask({"model": "emb", "input": PROMPT}, "/v1/embeddings") == 200
    with gateway.connect(body("big#hang"), f"authorization: Bearer {CALLER_KEY}\r\n"):
        pass
    with pytest.raises(Exception, match="IncompleteRead"):
        ask(body("big#broken=2", stream=True))
    gateway.process.terminate()
    gateway.process.wait(20)
    log = gateway.log.read_text()
    assert "chat_completions status=200" in log, "this log does hold lines of requests"
    assert "routing_gateway" in log
    for secret in (PROMPT, CALLER_KEY, OWN_KEY):
        assert secret not in log, secret


def test_a_fault_of_the_gateways_own_is_logged_without_its_message(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, echo: RunningEcho
) -> None:
    async def fault(*_: Any, **__: Any) -> None:
        raise ValueError(f"cannot handle {PROMPT} with {OWN_KEY}")

    monkeypatch.setattr(Attempts, "open", fault)
    gateway = make_gateway(models={"big": Endpoint(echo.base_url, api_key=OWN_KEY)})
    with caplog.at_level(logging.DEBUG):
        answer = gateway.request("POST", "/v1/chat/completions", body("big"), HEADERS)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "ValueError" in caplog.text
    assert "chat.py" in caplog.text, "where it happened is told"
    for secret in (PROMPT, CALLER_KEY, OWN_KEY):
        assert secret not in caplog.text + answer.body.decode(), secret


def test_a_fault_of_the_pages_paths(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fault(*_: Any, **__: Any) -> None:
        raise ValueError(f"cannot handle {PROMPT}")

    gateway = make_gateway()
    monkeypatch.setattr(gateway.state.client, "decide", fault)
    with caplog.at_level(logging.DEBUG):
        answer = gateway.request("POST", "/api/decide", {"prompt": PROMPT})
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "ValueError" in caplog.text
    assert PROMPT not in caplog.text + answer.body.decode()


def test_an_outage_does_not_flood_the_log() -> None:
    passed: list[str] = []
    kept = Repeats(interval_s=1.0)
    # A line every tenth of a second: of one kind, with a value that changes, and an informative one.
    for tenth in range(25):
        for level, text in ((logging.WARNING, "no decision (%d)"), (logging.INFO, "answered %d")):
            record = logging.LogRecord("routing_client", level, __file__, 1, text, (tenth,), None)
            record.created = 1000 + tenth / 10
            if kept.filter(record):
                passed.append(record.getMessage())
    assert [line for line in passed if line.startswith("no")] == [
        "no decision (0)",
        "no decision (10) (9 more like it before)",
        "no decision (20) (9 more like it before)",
    ]
    assert len(passed) == 3 + 25


def test_faults_of_upstreams(
    make_gateway: MakeGateway, scripted: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {PROMPT}\r\n{OWN_KEY}\r\n\r\n".encode())

    scripted.script = script
    endpoint = Endpoint(scripted.base_url, api_key=OWN_KEY)
    gateway = make_gateway(
        models={"big": endpoint, "small": endpoint}, strong_model="big", weak_model="small", failover=True
    )
    with caplog.at_level(logging.DEBUG):
        answer = gateway.request("POST", "/v1/chat/completions", body("router-fake-0.5"), HEADERS)
    assert (answer.status, answer.error["code"]) == (502, "upstream_broken")
    assert "'small' failed" in caplog.text or "failed (connection)" in caplog.text
    for secret in (PROMPT, CALLER_KEY, OWN_KEY):
        assert secret not in caplog.text + answer.body.decode(), secret


@pytest.mark.parametrize(("failure", "logged"), [(UnavailableError("down"), True), (None, False)])
def test_an_outage_of_the_service_is_logged(
    gateway: Gateway,
    fake: FakeService,
    failure: UnavailableError | None,
    logged: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake.failure = failure
    with caplog.at_level(logging.WARNING):
        assert gateway.chat("router-fake-0.5" if failure else "router-nowhere").status == (503 if failure else 404)
    assert ("no decision: unavailable" in caplog.text) == logged
