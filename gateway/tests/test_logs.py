"""No key and no prompt is in any log, whatever happens, at the level that logs most."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from routing_client import UnavailableError
from routing_client.endpoints import Endpoint
from routing_client.testing import FakeService
from routing_gateway.echo import RunningEcho
from routing_gateway.logs import Repeats
from routing_gateway.upstreams import Upstreams

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

    monkeypatch.setattr(Upstreams, "open", fault)
    gateway = make_gateway(models={"big": Endpoint(echo.base_url, api_key=OWN_KEY)})
    with caplog.at_level(logging.DEBUG):
        answer = gateway.request("POST", "/v1/chat/completions", body("big"), HEADERS)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "ValueError" in caplog.text
    assert "routed.py" in caplog.text, "where it happened is told"
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


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """A server with a certificate that nobody trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/v1", "'big' at 127.0.0.1:1 cannot be reached: connection refused"),
        ("http://no.such.host.invalid/v1", "at no.such.host.invalid cannot be reached: DNS: its name is not known"),
        ("https://{plain}/v1", "at {plain} cannot be reached: TLS: "),
        ("https://{untrusted}/v1", "at {untrusted} cannot be reached: TLS: its certificate is not valid"),
        ("http://{silent}/v1", "at {silent} did not answer in time: timeout"),
    ],
)
def test_an_upstream_that_cannot_be_reached_is_told_with_its_cause(
    make_gateway: MakeGateway,
    scripted: ScriptedUpstream,
    echo: RunningEcho,
    tls_server: str,
    url: str,
    said: str,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "*")  # a proxy would look for the host itself

    def silence(connection: socket.socket) -> None:
        connection.recv(1)

    scripted.script = silence
    plain, silent = (each.base_url.removeprefix("http://").removesuffix("/v1") for each in (echo, scripted))
    places = {"plain": plain, "silent": silent, "untrusted": tls_server}
    gateway = make_gateway(
        {"connect_timeout_s": 5.0},
        models={"big": Endpoint(url.format(**places), api_key=OWN_KEY, timeout=0.2)},
        default=None,
    )
    with caplog.at_level(logging.DEBUG):
        answer = gateway.request("POST", "/v1/chat/completions", body("big"), HEADERS)
    assert answer.status in {502, 504}
    assert said.format(**places) in caplog.text
    assert "the upstream of model 'big'" in answer.error["message"], "the caller is told the model"
    for place in (*places.values(), "no.such.host"):
        assert place not in answer.body.decode()
    for secret in (PROMPT, CALLER_KEY, OWN_KEY):
        assert secret not in caplog.text + answer.body.decode(), secret


def test_a_proxy_is_named_without_its_password(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:{OWN_KEY}@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    gateway = make_gateway(models={"big": Endpoint("http://upstream.example/v1")}, default=None)
    with caplog.at_level(logging.DEBUG):
        assert gateway.chat("big").status == 502
    assert (
        "at upstream.example cannot be reached: connection refused (through the proxy http://127.0.0.1:1 (http_proxy))"
        in caplog.text
    )
    assert OWN_KEY not in caplog.text


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
