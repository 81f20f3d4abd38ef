"""What comes before a request is whole: offers of other protocols, heads without end, callers that stop half-way."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import pytest
from routing_gateway import connection as connections
from routing_gateway.connection import MAX_HEAD_BYTES
from routing_gateway.echo import RunningEcho

from .conftest import LIMIT_S, Gateway, MakeGateway
from .scripted import ScriptedUpstream

CHAT = json.dumps({"model": "router-fake-0.5", "messages": [{"role": "user", "content": "a hard one"}]}).encode()
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQ\r\nUpgrade: h2c\r\n"
LENGTH = b"content-length: %d\r\n"


def head(rest: bytes = b"", method: bytes = b"POST", path: bytes = b"/v1/chat/completions") -> bytes:
    return b"%b %b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n%b" % (method, path, rest)


def connect(gateway: Gateway) -> socket.socket:
    host, port = gateway.address.split(":")
    return socket.create_connection((host, int(port)), LIMIT_S)


class Reader:
    """Reads answers, one after another, from one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def answer(self) -> tuple[int, bytes]:
        while b"\r\n\r\n" not in self._received:
            self._receive()
        begun, _, self._received = self._received.partition(b"\r\n\r\n")
        lines = begun.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return int(lines[0].split()[1]), body

    def is_over(self) -> bool:
        try:
            return self._connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def _receive(self) -> None:
        data = self._connection.recv(1 << 16)
        assert data, self._received
        self._received += data


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("pause", [False, True])
def test_a_body_behind_an_offer_of_http2_arrives(gateway: Gateway, echo: RunningEcho, parts: int, pause: bool) -> None:
    with connect(gateway) as connection:
        reader = Reader(connection)
        for number in range(3):  # on one connection, which stays open
            sent = head(OFFER + LENGTH % len(CHAT)) + b"\r\n" + CHAT
            cut = [0, *(sent.index(b"\r\n\r\n") + 4 * (part + 1) for part in range(parts - 1)), len(sent)]
            for begin, end in pairwise(cut):
                connection.sendall(sent[begin:end])
                if pause:
                    time.sleep(0.02)
            status, body = reader.answer()
            assert (status, json.loads(body)["model"]) == (200, "big"), number
    assert len(echo.state.requests) == 3


def test_a_chunked_body_behind_an_offer_arrives(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT)
        plain = head(LENGTH % len(CHAT)) + b"\r\n" + CHAT
        connection.sendall(head(OFFER + b"transfer-encoding: chunked\r\n") + b"\r\n" + chunks + plain)
        reader = Reader(connection)
        assert [reader.answer()[0], reader.answer()[0]] == [200, 200]


def test_an_offer_without_a_body(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    with connect(scripted_gateway) as connection:
        reader = Reader(connection)
        for _ in range(2):
            connection.sendall(head(OFFER, b"GET", b"/v1/files") + b"\r\n")
            assert reader.answer() == (200, b"{}")
    assert not any(scripted.header(name) for name in ("upgrade", "http2-settings", "connection"))


def test_what_passes_through_keeps_its_body_too(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    packed = gzip.compress(b'{"model": "big", "input": "x"}')
    rest = OFFER + b"content-encoding: gzip\r\n" + LENGTH % len(packed)
    with connect(scripted_gateway) as connection:
        connection.sendall(head(rest, path=b"/v1/embeddings") + b"\r\n" + packed)
        assert Reader(connection).answer() == (200, b"{}")
    assert scripted.requests[-1][1] == b'{"model": "big", "input": "x"}'


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime?model=big", "/", "/health"])
def test_a_websocket_is_refused_at_once(gateway: Gateway, echo: RunningEcho, path: str) -> None:
    offer = {
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "WebSocket",
        "Sec-WebSocket-Key": "x",
        "Sec-WebSocket-Version": "13",
    }
    answer = gateway.request("GET", path, None, offer)
    assert (answer.status, answer.error["code"]) == (426, "no_websocket")
    assert answer.headers["upgrade"] == "HTTP/1.1"
    assert echo.state.counters.started == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * MAX_HEAD_BYTES, 431),
        (head() + b"x-long: " + b"x" * MAX_HEAD_BYTES, 431),
        (head() + b"".join(b"x-%d: y\r\n" % number for number in range(MAX_HEAD_BYTES // 8)), 431),
        (head() + b"x-long: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (head(b"transfer-encoding: chunked\r\n") + b"\r\n1;" + b"x" * (2 * MAX_HEAD_BYTES), 431),
        (head(b"transfer-encoding: chunked\r\n") + b"\r\n0\r\nx-long: " + b"x" * (2 * MAX_HEAD_BYTES), 431),
        (b"no request at all\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example\r\n\r\n", 400),
        (head(b"content-length: 5\r\ntransfer-encoding: chunked\r\n") + b"\r\n0\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_and_cut_off(gateway: Gateway, sent: bytes, status: int) -> None:
    with connect(gateway) as connection:
        connection.sendall(sent)
        reader = Reader(connection)
        answered, body = reader.answer()
        assert (answered, set(json.loads(body))) == (status, {"error"})
        assert reader.is_over()
    assert gateway.chat().status == 200


def test_a_head_of_usual_size_passes(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    value = "x" * (MAX_HEAD_BYTES - 2000)
    assert scripted_gateway.request("GET", "/v1/files", None, {"X-Long": value}).status == 200
    assert scripted.header("x-long") == value


def test_trailers_are_no_headers(scripted_gateway: Gateway, scripted: ScriptedUpstream) -> None:
    chunks = b"%x\r\n%b\r\n0\r\nx-late: 1\r\n\r\n" % (len(CHAT), CHAT)
    with connect(scripted_gateway) as connection:
        connection.sendall(head(b"transfer-encoding: chunked\r\ntrailer: x-late\r\n") + b"\r\n" + chunks)
        assert Reader(connection).answer()[0] == 200
    assert scripted.header("x-late") is None


def test_many_small_chunks_are_a_sound_body(gateway: Gateway) -> None:
    body = json.dumps({"model": "big", "messages": [{"role": "user", "content": "x" * 100_000}]}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with connect(gateway) as connection:
        connection.sendall(head(b"transfer-encoding: chunked\r\n") + b"\r\n" + chunks + b"0\r\n\r\n")
        assert Reader(connection).answer()[0] == 200


@pytest.mark.parametrize("sent", [b"", b"GET", head(), head(LENGTH % 10)])
def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, gateway: Gateway, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.05)
    with connect(gateway) as connection:
        connection.sendall(sent)
        assert Reader(connection).is_over()
    with connect(gateway) as connection:
        reader = Reader(connection)
        connection.sendall(head(b"", b"GET", b"/health") + b"\r\n")
        assert reader.answer()[0] == 200
        connection.sendall(sent or b"G")  # the next one, on a connection that was used
        assert reader.is_over()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, make_gateway: MakeGateway) -> Gateway:
    """A gateway that lets eight requests wait, and takes as many."""
    monkeypatch.setattr(connections, "_MIN_WAITING", 8)
    return make_gateway({"max_concurrent": 8})


@pytest.mark.parametrize(
    "sent", [b"POST /v1/ch", head(LENGTH % 100) + b"\r\n{", head(b"", b"GET", b"/health") + b"\r\n"]
)
def test_requests_that_are_not_whole_keep_nobody_out(few: Gateway, sent: bytes, caplog: Any) -> None:
    with ExitStack() as stack:
        stalled = [stack.enter_context(connect(few)) for _ in range(40)]
        for each in stalled:
            with suppress(OSError):  # it may be closed already
                each.sendall(sent)
        for _ in range(20):
            answer = few.chat()
            assert answer.status == 200
    assert "too many connections" in caplog.text


def test_bodies_that_are_not_whole_are_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch, make_gateway: MakeGateway, caplog: Any, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr(connections, "_MIN_WAITING_BYTES", 1 << 20)
    gateway = make_gateway({"max_body_bytes": 1 << 18})
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(connect(gateway))
            connection.sendall(head(LENGTH % (1 << 18)) + b"\r\n" + b"x" * 200_000)
        eventually(lambda: "too many bytes" in caplog.text, "the first ones are closed")
        assert gateway.chat(text="x" * 100_000).status == 200


def test_a_body_for_which_nobody_waits_is_not_read_for_ever(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.sendall(head(LENGTH % (1 << 40), b"GET", b"/health") + b"\r\n")
        assert Reader(connection).answer()[0] == 200
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(b"x" * (1 << 30))
