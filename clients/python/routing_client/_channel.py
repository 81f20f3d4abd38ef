"""How the client connects: the channel's options and its service config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from routing_client import proxies

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICE = "llmrouting.v1.RoutingService"

# A retry does no harm: the first three only read, and an outcome counts once for each decision id. Streams are not
# retried, since their messages would have to be kept until the end.
RETRIED_METHODS = ("Decide", "BatchDecide", "ListRouters", "ReportOutcome")

MAX_ATTEMPTS_LIMIT = 5
"""gRPC itself makes no more attempts than this."""


def service_config(max_attempts: int) -> str:
    """The gRPC service config, as JSON: retries on UNAVAILABLE with jittered backoff, within the call's deadline."""
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if max_attempts > 1:
        config["methodConfig"] = [
            {
                "name": [{"service": SERVICE, "method": method} for method in RETRIED_METHODS],
                "retryPolicy": {
                    "maxAttempts": max_attempts,
                    "initialBackoff": "0.02s",
                    "maxBackoff": "0.2s",
                    "backoffMultiplier": 3,
                    # A server that stops cancels the calls that it has not begun.
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ]
        # While most calls fail, retries only add load: they pause below half the tokens; each success earns some back.
        config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
    return json.dumps(config)


def channel_options(
    max_attempts: int, proxy: proxies.Proxy | None, extra: Sequence[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """Channel options; those in `extra` override the others."""
    options: dict[str, Any] = {
        **dict(proxies.channel_options(proxy)),
        "grpc.service_config": service_config(max_attempts),
        "grpc.enable_retries": 1,
        # How long one attempt to connect may take, and how long until the next. gRPC's own (20 s, and up to 120 s
        # between) would let each call to a black hole wait out its deadline, and find a restarted server minutes late.
        "grpc.min_reconnect_backoff_ms": 1_000,
        "grpc.initial_reconnect_backoff_ms": 250,
        "grpc.max_reconnect_backoff_ms": 5_000,
        # The shortest interval that servers accept by default, only while calls are in flight. What counts here is the
        # timeout, which becomes the socket's TCP_USER_TIMEOUT: a dead peer is noticed in seconds, not in a quarter of
        # an hour.
        "grpc.keepalive_time_ms": 300_000,
        "grpc.keepalive_timeout_ms": 5_000,
    }
    options.update(extra)
    return list(options.items())
