"""The gateway's own numbers, for Prometheus. Labels take only names of the configuration and the service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_SLOW_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """One gateway's counters, in a registry of their own, so that several gateways fit into one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "routing_gateway_requests",
            "Answers by path and HTTP status; 499: the caller left.",
            ["path", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "routing_gateway_request_seconds",
            "From the request to the answer's last byte.",
            ["path"],
            buckets=_SLOW_S,
            registry=self.registry,
        )
        self.decision_seconds = Histogram(
            "routing_gateway_decision_seconds",
            "Asking the decision service.",
            buckets=_FAST_S,
            registry=self.registry,
        )
        self.decisions = Counter(
            "routing_gateway_decisions", "Decisions by router and tier.", ["router", "tier"], registry=self.registry
        )
        self.fallbacks = Counter(
            "routing_gateway_fallbacks",
            "Answers of the fallback model by why there was no decision.",
            ["reason"],
            registry=self.registry,
        )
        self.first_byte_seconds = Histogram(
            "routing_gateway_upstream_first_byte_seconds",
            "From sending to an upstream to its status line.",
            ["endpoint"],
            buckets=_SLOW_S,
            registry=self.registry,
        )
        self.upstream_responses = Counter(
            "routing_gateway_upstream_responses",
            "Upstreams' answers by endpoint, and status or kind of failure.",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self.failovers = Counter(
            "routing_gateway_failovers",
            "Requests that the pair's other model answered, by the endpoint that failed.",
            ["endpoint", "reason"],
            registry=self.registry,
        )
        self.in_flight = Gauge("routing_gateway_in_flight", "Requests in flight.", registry=self.registry)

    def page(self) -> bytes:
        """What `/metrics` answers."""
        return generate_latest(self.registry)
