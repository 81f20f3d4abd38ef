"""Prometheus metrics: how many decisions, of which kind, how long calls took, and what went wrong.

Counting happens for every call, reading only sometimes. So counts are plain numbers here and become Prometheus's
metrics when they are read. All counting is done by one thread, the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from enum import Enum

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Upper bounds in seconds. A decision takes microseconds to milliseconds; the upper end shows stalls.
BUCKETS = (25e-6, 50e-6, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3, 12.8e-3, 25.6e-3, 0.1, 1.0)


class Metrics(Collector):
    """The service's counters and histograms, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._decisions: Counter[tuple[str, Enum, Enum]] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()
        # By method: the number of calls in each bucket (the last has no bound), and the sum of their seconds.
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.registry.register(self)

    def decision(self, router: str, tier: Enum, reason: Enum) -> None:
        """Count a decision; tier and reason are names in lower case."""
        self._decisions[router, tier, reason] += 1

    def error(self, method: str, reason: str) -> None:
        """Count an error that was answered."""
        self._errors[method, reason] += 1

    def seconds(self, method: str, value: float) -> None:
        """Record how long a call took."""
        buckets = self._buckets.get(method)
        if buckets is None:
            buckets = self._buckets[method] = [0] * (len(BUCKETS) + 1)
        buckets[bisect_left(BUCKETS, value)] += 1
        self._seconds[method] += value

    def collect(self) -> Iterator[Metric]:
        """The current metrics, for Prometheus's library."""
        decisions = CounterMetricFamily("routing_decisions", "Decisions made.", labels=("router", "tier", "reason"))
        for (router, tier, reason), count in sorted(dict(self._decisions).items()):
            decisions.add_metric((router, tier.name.lower(), reason.name.lower()), count)
        yield decisions
        errors = CounterMetricFamily("routing_errors", "Calls and batch items refused.", labels=("method", "reason"))
        for labels, count in sorted(dict(self._errors).items()):
            errors.add_metric(labels, count)
        yield errors
        seconds = HistogramMetricFamily(
            "routing_call_seconds", "Seconds from a call's bytes to its answer's bytes.", labels=("method",)
        )
        for method, buckets in sorted(dict(self._buckets).items()):
            total, cumulated = 0, []
            for bound, count in zip((*BUCKETS, float("inf")), buckets, strict=True):
                total += count
                cumulated.append((str(bound) if bound != float("inf") else "+Inf", float(total)))
            seconds.add_metric((method,), cumulated, self._seconds[method])
        yield seconds
