from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from prometheus_client.registry import Collector

from routing_service.config import ObservabilityConfig
from routing_service.engine.types import DecisionReason, Tier
from routing_service.observability import exposition
from routing_service.observability.exposition import MAX_CONNECTIONS, MAX_HEAD_BYTES, MetricsServer
from routing_service.observability.logging import configure_logging
from routing_service.observability.metrics import Metrics

COUNTED = 'routing_decisions_total{reason="threshold",router="main",tier="weak"} 1.0'
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.decision("main", Tier.WEAK, DecisionReason.THRESHOLD)
    return metrics


@pytest.fixture
async def port(metrics: Metrics) -> AsyncIterator[int]:
    server = MetricsServer(metrics.registry)
    yield await server.start("127.0.0.1", 0)
    await server.close()


async def exchange(port: int, sent: bytes) -> bytes:
    """All that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await reader.read()
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def get(port: int, target: str = "/metrics", **headers: str) -> tuple[bytes, bytes]:
    lines = [f"GET {target} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    head, _, body = (await exchange(port, ("\r\n".join(lines) + "\r\n\r\n").encode())).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return head, body


@pytest.mark.parametrize("target", ["/metrics", "/", "/metrics?x=1"])
async def test_a_scrape_gets_the_metrics_whatever_the_path(port: int, target: str) -> None:
    head, body = await get(port, target)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert COUNTED in body.decode()
    assert "python_info" not in body.decode(), "a registry of its own"


async def test_a_scraper_may_ask_for_another_format_and_for_compression(port: int) -> None:
    head, body = await get(port, accept="application/openmetrics-text; version=1.0.0", Accept_Encoding="gzip")
    assert b"Content-Type: application/openmetrics-text; version=1.0.0" in head
    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body).endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET /\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/2\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\na: " + b"b" * MAX_HEAD_BYTES, b"431 Request Header Fields Too Large"),
    ],
)
async def test_what_is_no_scrape_is_refused(port: int, sent: bytes, status: bytes) -> None:
    assert (await exchange(port, sent)).startswith(b"HTTP/1.1 " + status)


async def test_many_silent_callers_cost_no_threads_and_keep_nobody_out(port: int) -> None:
    before = threading.active_count()
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS + 8)]
    for _ in range(3):
        assert COUNTED in (await exchange(port, SCRAPE)).decode()
    assert threading.active_count() == before
    # The first of them had to go, the last one may still ask.
    assert await silent[0][0].read() == b""
    reader, writer = silent[-1]
    writer.write(SCRAPE)
    assert COUNTED in (await reader.read()).decode()
    for _, writer in silent:
        await hang_up(writer)


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HT"])
async def test_who_sends_no_whole_request_is_hung_up_on(
    port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(exposition, "EXCHANGE_SECONDS", 0.05)
    assert await exchange(port, sent) == b""


async def test_a_collector_that_fails_is_logged_by_its_class(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Collector):
        def collect(self) -> list[object]:  # type: ignore[override] # it never returns
            raise LookupError("a secret")

    metrics = Metrics()
    server = MetricsServer(metrics.registry)
    port = await server.start("127.0.0.1", 0)
    metrics.registry._collector_to_names[Broken()] = []  # registering it would collect
    configure_logging(ObservabilityConfig())
    assert (await exchange(port, SCRAPE)).startswith(b"HTTP/1.1 500 Internal Server Error")
    await server.close()
    logged = json.loads(capsys.readouterr().err)
    assert (logged["event"], logged["raised"][0]["type"]) == ("metrics_failed", "builtins.LookupError")
    assert "a secret" not in str(logged)


async def test_a_port_that_is_taken_is_an_error(metrics: Metrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await MetricsServer(metrics.registry).start("127.0.0.1", taken.getsockname()[1])
