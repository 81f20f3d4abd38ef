from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import prometheus_client
import pytest

from routing_service.engine.types import DecisionReason, Tier
from routing_service.errors import Reason
from routing_service.observability import metrics as metrics_module
from routing_service.observability.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_decisions_are_counted_by_router_tier_and_reason() -> None:
    metrics = Metrics()
    metrics.decision("main", Tier.STRONG, DecisionReason.THRESHOLD)
    metrics.decision("main", Tier.STRONG, DecisionReason.THRESHOLD)
    metrics.decision("main", Tier.WEAK, DecisionReason.FALLBACK)
    assert value(metrics, "routing_decisions_total", router="main", tier="strong", reason="threshold") == 2
    assert value(metrics, "routing_decisions_total", router="main", tier="weak", reason="fallback") == 1
    assert value(metrics, "routing_decisions_total", router="other", tier="weak", reason="fallback") is None


def test_errors_are_counted_by_method_and_reason() -> None:
    metrics = Metrics()
    metrics.error("Decide", Reason.PROMPT_EMPTY)
    metrics.error("Decide", Reason.PROMPT_EMPTY)
    metrics.error("BatchDecide", Reason.PROMPT_EMPTY)
    assert value(metrics, "routing_errors_total", method="Decide", reason="PROMPT_EMPTY") == 2
    assert value(metrics, "routing_errors_total", method="BatchDecide", reason="PROMPT_EMPTY") == 1


def test_times_are_kept_in_buckets_from_microseconds_on() -> None:
    metrics = Metrics()
    for seconds in (30e-6, 90e-6, 2.0):
        metrics.seconds("Decide", seconds)
    assert value(metrics, "routing_call_seconds_count", method="Decide") == 3
    assert value(metrics, "routing_call_seconds_sum", method="Decide") == pytest.approx(2.00012)
    for upper, count in {"2.5e-05": 0, "5e-05": 1, "0.0001": 2, "1.0": 2, "+Inf": 3}.items():
        assert value(metrics, "routing_call_seconds_bucket", method="Decide", le=upper) == count


def test_two_registries_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.error("Decide", "INTERNAL")
    assert value(other, "routing_errors_total", method="Decide", reason="INTERNAL") is None


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what `serve` opens when the test ends."""
    servers = []
    start: Callable[..., Any] = prometheus_client.start_http_server

    def keep(*arguments: Any, **options: Any) -> Any:
        server, thread = start(*arguments, **options)
        servers.append((server, thread))
        return server, thread

    monkeypatch.setattr(metrics_module, "start_http_server", keep)
    yield
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.mark.usefixtures("closing")
def test_metrics_are_served_over_http_on_a_free_port() -> None:
    metrics = Metrics()
    metrics.decision("main", Tier.WEAK, DecisionReason.THRESHOLD)
    port = metrics.serve("127.0.0.1", 0)
    assert port > 0
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'routing_decisions_total{reason="threshold",router="main",tier="weak"} 1.0' in text
    assert "python_info" not in text, "a registry of its own"


@pytest.mark.usefixtures("closing")
def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Metrics().serve("127.0.0.1", taken.getsockname()[1])
