"""An upstream is down, slow, busy, or breaks off; and the other model's that answers instead."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from routing_client.endpoints import Endpoint
from routing_gateway import upstreams
from routing_gateway.echo import RunningEcho

from .conftest import LIMIT_S, Gateway, MakeGateway
from .scripted import ScriptedUpstream

GONE = Endpoint("http://127.0.0.1:1/v1")
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

MakeFailing = Callable[..., Gateway]


@pytest.fixture
def failing(make_gateway: MakeGateway, echo: RunningEcho) -> MakeFailing:
    """A gateway whose strong model fails; the prompts here are all for that one."""

    def make(big: Endpoint | str, **changes: Any) -> Gateway:
        if isinstance(big, str):
            big = Endpoint(echo.base_url, upstream_model=f"big#{big}", timeout=0.3)
        models = {"big": big, "small": Endpoint(echo.base_url)}
        return make_gateway(
            **{"models": models, "default": None, "strong_model": "big", "weak_model": "small", **changes}
        )

    return make


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("hang", 504, "upstream_timeout"), ("delay=5", 504, "upstream_timeout"), ("broken", 502, "upstream_broken")],
)
def test_an_upstream_that_gives_no_answer(failing: MakeFailing, fault: str, status: int, code: str) -> None:
    answer = failing(fault if fault != "broken" else "broken=1").chat(text="hard")
    assert (answer.status, answer.error["type"], answer.error["code"]) == (status, "server_error", code)


def test_an_upstream_that_cannot_be_reached(failing: MakeFailing) -> None:
    answer = failing(GONE).chat(text="hard")
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert "127.0.0.1" not in answer.error["message"], "where upstreams are is nobody's business"


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"])
def test_an_upstream_that_talks_nonsense(failing: MakeFailing, scripted: ScriptedUpstream, said: bytes) -> None:
    scripted.script = lambda connection: connection.sendall(said)
    answer = failing(Endpoint(scripted.base_url)).chat(text="hard")
    assert (answer.status, answer.error["code"]) == (502, "upstream_broken")


@pytest.mark.parametrize("status", ["101 Switching Protocols", "600 X", "999 X"])
def test_a_status_that_cannot_be_passed_on(make_gateway: MakeGateway, scripted: ScriptedUpstream, status: str) -> None:
    scripted.script = lambda connection: connection.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
    endpoint = Endpoint(scripted.base_url)
    gateway = make_gateway(models={"big": endpoint}, default=endpoint)
    for model in ("big", "some-model"):
        answer = gateway.chat(model)
        assert (answer.status, answer.error["code"]) == (502, "upstream_broken")
        assert repr(model) in answer.error["message"], "the name that the caller knows, not our `default`"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("status=408", "408"),
        ("status=429", "429"),
        ("status=500", "500"),
        ("status=503", "503"),
        ("hang", "timeout"),
        ("first-byte=5", "timeout"),
        (GONE, "connection"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_other_model_answers_instead(failing: MakeFailing, fault: Any, reason: str, stream: bool) -> None:
    gateway = failing(fault, failover=True)
    answer = gateway.chat(text="hard", stream=stream)
    assert answer.status == 200
    assert answer.headers["x-routing-model"] == "small"
    assert answer.headers["x-routing-tier"] == "strong", "what was decided stays told"
    assert answer.headers["x-routing-failover"] == "big"
    assert answer.headers["x-routing-failover-reason"] == reason
    counted = f'routing_gateway_failovers_total{{endpoint="big",reason="{reason}"}} 1.0'
    assert counted in gateway.request("GET", "/metrics").body.decode()


def test_a_short_answer_that_breaks_in_the_middle_is_answered_by_the_other_model(failing: MakeFailing) -> None:
    answer = failing("broken=1", failover=True).chat(text="hard")
    assert (answer.headers["x-routing-model"], answer.headers["x-routing-failover-reason"]) == ("small", "connection")
    assert answer.json()["model"] == "small"


@pytest.mark.parametrize("fault", ["status=400", "status=401", "status=404"])
def test_what_is_the_callers_fault_is_not_tried_again(failing: MakeFailing, echo: RunningEcho, fault: str) -> None:
    answer = failing(fault, failover=True).chat(text="hard")
    assert answer.status == int(fault[-3:])
    assert "x-routing-failover" not in answer.headers
    assert len(echo.state.requests) == 1


def test_without_failover_the_error_is_passed_on(failing: MakeFailing, echo: RunningEcho) -> None:
    answer = failing("status=429,retry-after=7").chat(text="hard")
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-routing-model"]) == (429, "7", "big")
    assert len(echo.state.requests) == 1


def test_when_both_fail_the_other_ones_error_is_passed_on(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    models = {
        "big": Endpoint(echo.base_url, upstream_model="big#status=429"),
        "small": Endpoint(echo.base_url, upstream_model="small#status=503"),
    }
    answer = make_gateway(models=models, strong_model="big", weak_model="small", failover=True).chat(text="hard")
    assert (answer.status, answer.headers["x-routing-model"], answer.headers["x-routing-failover"]) == (
        503,
        "small",
        "big",
    )
    assert len(echo.state.requests) == 2


def test_when_the_other_cannot_be_reached_the_first_error_is_passed_on(
    make_gateway: MakeGateway, echo: RunningEcho
) -> None:
    models = {"big": Endpoint(echo.base_url, upstream_model="big#status=429"), "small": GONE}
    answer = make_gateway(models=models, strong_model="big", weak_model="small", failover=True).chat(text="hard")
    assert (answer.status, answer.json()["error"]["code"]) == (429, "echo_fault")
    assert answer.headers["x-routing-model"] == "big"
    assert "x-routing-failover" not in answer.headers


def test_the_answer_that_is_not_passed_on_is_not_kept_open(
    make_gateway: MakeGateway, echo: RunningEcho, scripted: ScriptedUpstream
) -> None:
    closed = threading.Event()

    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 503 x\r\ncontent-length: 100000\r\n\r\nbusy")
        with suppress(ConnectionResetError):
            connection.recv(1)  # until the gateway closes
        closed.set()

    scripted.script = refuse
    models = {"big": Endpoint(scripted.base_url), "small": Endpoint(echo.base_url)}
    gateway = make_gateway(models=models, strong_model="big", weak_model="small", failover=True)
    assert gateway.chat(text="hard", stream=True).headers["x-routing-failover-reason"] == "503"
    assert closed.wait(LIMIT_S)


def test_what_an_upstream_has_worked_on_is_not_sent_again(
    make_gateway: MakeGateway, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "_STALE_S", 0.0)
    scripted.script = lambda _: None  # closes
    gateway = make_gateway(models={"big": Endpoint(scripted.base_url)}, default=None)
    assert gateway.chat("big").error["code"] == "upstream_broken"
    assert len(scripted.requests) == 1


def test_the_pair_that_the_service_names_is_the_pair(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    models = {"big": GONE, "small": Endpoint(echo.base_url)}
    answer = make_gateway(models=models, default=None, failover=True).chat(text="hard")
    assert (answer.status, answer.headers["x-routing-model"]) == (200, "small")


def test_a_fallback_that_fails_is_failed_over_too(failing: MakeFailing) -> None:
    answer = failing(GONE, service="127.0.0.1:1", fallback_model="big", failover=True).chat()
    assert answer.headers["x-routing-fallback"] == "UNAVAILABLE"
    assert (answer.headers["x-routing-model"], answer.headers["x-routing-failover"]) == ("small", "big")


def test_a_model_that_was_asked_for_by_name_is_not_replaced(failing: MakeFailing) -> None:
    assert failing(GONE, failover=True).chat("big").status == 502


def test_a_stream_that_breaks_before_its_first_byte(failing: MakeFailing, scripted: ScriptedUpstream) -> None:
    scripted.script = lambda connection: connection.sendall(STREAM_HEAD)
    answer = failing(Endpoint(scripted.base_url), failover=True).chat(text="hard", stream=True)
    assert answer.headers["x-routing-failover-reason"] == "connection"
    assert answer.body.endswith(b"[DONE]\n\n")


@pytest.mark.parametrize("failover", [False, True])
def test_a_stream_that_breaks_later_is_cut(failing: MakeFailing, scripted: ScriptedUpstream, failover: bool) -> None:
    scripted.script = lambda connection: connection.sendall(STREAM_HEAD + b"6\r\ndata: \r\n")
    gateway = failing(Endpoint(scripted.base_url), failover=failover)
    body = {"model": "router-fake-0.5", "stream": True, "messages": [{"role": "user", "content": "hard"}]}
    with gateway.connect(body) as connection:
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert b" 200 OK" in received
    assert received.endswith(b"6\r\ndata: \r\n"), "no end of the stream is made up"
    assert gateway.state.upstreams.health["big"].state == "broken"


def test_a_stream_that_falls_silent_is_cut(failing: MakeFailing, scripted: ScriptedUpstream) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD + b"6\r\ndata: \r\n")
        connection.recv(1)  # until the gateway gives up

    scripted.script = script
    gateway = failing(Endpoint(scripted.base_url, timeout=0.3))
    body = {"model": "big", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    with gateway.connect(body) as connection:
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received.endswith(b"6\r\ndata: \r\n")
    assert gateway.state.upstreams.health["big"].state == "timeout"


@pytest.mark.parametrize("fault", ["error-event=2", "bad-event=2"])
def test_what_a_stream_says_is_not_judged(failing: MakeFailing, fault: str) -> None:
    answer = failing(fault).chat(text="hard", stream=True)
    assert answer.status == 200
    assert (b"the upstream failed" if fault.startswith("error") else b"this is no JSON") in answer.body


def test_an_upstream_that_is_back_is_used_again(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> None:
    with socket.socket() as reserved:
        # Bound, and not listening: connections are refused until it does.
        reserved.bind(("127.0.0.1", 0))
        gateway = make_gateway(models={"big": Endpoint(f"http://127.0.0.1:{reserved.getsockname()[1]}/v1")})
        assert gateway.chat("big").error["code"] == "upstream_unreachable"
        assert gateway.state.upstreams.health["big"].state == "unreachable"
        reserved.listen()
        threading.Thread(target=scripted.serve, args=(reserved,), daemon=True).start()
        assert gateway.chat("big").status == 200
        reserved.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
    assert gateway.state.upstreams.health["big"].state == "ok"
