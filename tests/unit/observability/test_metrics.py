from __future__ import annotations

import pytest

from routing_service.engine.types import DecisionReason, Tier
from routing_service.errors import Reason
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
