"""Prometheus metrics: how many decisions, of which kind, how long they took, and what went wrong."""

from __future__ import annotations

from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

# Seconds. A decision takes microseconds to milliseconds; the upper end shows stalls.
_BUCKETS = (25e-6, 50e-6, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3, 12.8e-3, 25.6e-3, 0.1, 1.0)


class Metrics:
    """The service's counters and histograms, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            "routing_decisions", "Decisions made.", ("router", "tier", "reason"), registry=self.registry
        )
        self._errors = Counter(
            "routing_errors", "Calls and batch items refused.", ("method", "reason"), registry=self.registry
        )
        self._seconds = Histogram(
            "routing_call_seconds",
            "Seconds from a call's bytes to its answer's bytes.",
            ("method",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Looking a labelled child up costs more than counting; the labels' values are few and known to the server.
        self._decision_children: dict[tuple[str, Enum, Enum], Counter] = {}
        self._second_children: dict[str, Histogram] = {}

    def decision(self, router: str, tier: Enum, reason: Enum) -> None:
        """Count a decision; a tier and a reason go by their names in lower case."""
        key = (router, tier, reason)
        child = self._decision_children.get(key)
        if child is None:
            labels = (router, tier.name.lower(), reason.name.lower())
            child = self._decision_children[key] = self._decisions.labels(*labels)
        child.inc()

    def error(self, method: str, reason: str) -> None:
        """Count an error that was answered."""
        self._errors.labels(method, reason).inc()

    def seconds(self, method: str, value: float) -> None:
        """Record how long a call took."""
        child = self._second_children.get(method)
        if child is None:
            child = self._second_children[method] = self._seconds.labels(method)
        child.observe(value)

    def serve(self, host: str, port: int) -> int:
        """Serve the metrics over HTTP from a thread and return the bound port.

        Raises:
            OSError: the address cannot be bound.
        """
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        return int(server.server_port)
