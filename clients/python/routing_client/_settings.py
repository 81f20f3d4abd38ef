"""A client's settings, checked once, and its own decision when the service gives none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from routing_client._channel import MAX_ATTEMPTS_LIMIT, channel_options
from routing_client._requests import model_pair
from routing_client.proxies import Proxy, proxy_for_target
from routing_client.targets import check_target, read_target
from routing_client.types import Decision, DecisionReason, DecisionRequest, ModelPair, Tier

if TYPE_CHECKING:
    import grpc

    from routing_client.exceptions import RoutingError

OnUnavailable: TypeAlias = Literal["raise", "strong", "weak"]
Metadata: TypeAlias = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]

# The service answers within a millisecond, a busy one within tens of them. A second leaves time to connect over TLS
# and for a few attempts, and is short beside an LLM's seconds. An outage adds no more than this to a call.
DEFAULT_TIMEOUT = 1.0
DEFAULT_BATCH_TIMEOUT = 10.0
DEFAULT_CALIBRATE_TIMEOUT = 300.0
DEFAULT_CHUNK_SIZE = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """As documented for `RoutingClient`. Raises ValueError for values that make no sense."""

    target: str
    timeout: float
    batch_timeout: float
    on_unavailable: OnUnavailable
    models: ModelPair
    chunk_size: int
    max_attempts: int
    credentials: grpc.ChannelCredentials | None = field(repr=False)
    metadata: tuple[tuple[str, str | bytes], ...] = field(repr=False)  # often a token
    options: tuple[tuple[str, Any], ...] = field(repr=False)
    proxy: Proxy | None = field(init=False, default=None)
    """The proxy that the environment names for the calls, read once."""

    @classmethod
    def make(
        cls,
        target: str,
        *,
        timeout: float,
        batch_timeout: float,
        on_unavailable: OnUnavailable,
        strong_model: str | None,
        weak_model: str | None,
        chunk_size: int,
        max_attempts: int,
        credentials: grpc.ChannelCredentials | None,
        metadata: Metadata | None,
        options: Iterable[tuple[str, Any]],
    ) -> Settings:
        """From a client's arguments."""
        pairs = metadata.items() if isinstance(metadata, Mapping) else metadata or ()
        return cls(
            target=target,
            timeout=timeout,
            batch_timeout=batch_timeout,
            on_unavailable=on_unavailable,
            models=ModelPair(strong_model or "", weak_model or ""),
            chunk_size=chunk_size,
            max_attempts=max_attempts,
            credentials=credentials,
            metadata=tuple(pairs),
            options=tuple(options),
        )

    def __post_init__(self) -> None:
        check_target(self.target)
        if not {name for name, _ in self.options} & {"grpc.enable_http_proxy", "grpc.http_proxy"}:
            object.__setattr__(self, "proxy", proxy_for_target(self.target))
        for name in ("timeout", "batch_timeout"):
            check_timeout(getattr(self, name), name)
        if self.on_unavailable not in get_args(OnUnavailable):
            raise ValueError(f"on_unavailable must be one of {', '.join(get_args(OnUnavailable))}")
        for key, value in self.metadata:
            _check_metadata(key, value)
        if self.chunk_size < 1:
            raise ValueError("chunk_size must be at least 1")
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS_LIMIT:
            raise ValueError(f"max_attempts must be from 1 (no retries) to {MAX_ATTEMPTS_LIMIT}, gRPC's own limit")

    def channel_options(self) -> list[tuple[str, Any]]:
        """Options for the gRPC channel; the caller's override the others."""
        return channel_options(self.max_attempts, self.proxy, self.options)

    @property
    def grpc_target(self) -> str:
        """The target as gRPC takes it."""
        return read_target(self.target).grpc

    def channel(self) -> grpc.Channel:
        """A new channel of gRPC's synchronous API."""
        import grpc

        options = self.channel_options()
        if self.credentials is None:
            return grpc.insecure_channel(self.grpc_target, options)
        return grpc.secure_channel(self.grpc_target, self.credentials, options)

    def own_decision(self, request: DecisionRequest, error: RoutingError) -> Decision | None:
        """The decision to give instead of `error`, which must be an outage; None when the error must be raised.

        A name in the request's `models` overrides the client's. Without either, the model is `strong` or `weak`.
        """
        if self.on_unavailable == "raise":
            return None
        asked = model_pair(request.models) if request.models is not None else ModelPair()
        return Decision(
            model=getattr(asked, self.on_unavailable)
            or getattr(self.models, self.on_unavailable)
            or self.on_unavailable,
            tier=Tier(self.on_unavailable),
            reason=DecisionReason.UNAVAILABLE,
            fallback_reason=error.reason or error.code.name,
            request_id=request.request_id or "",
        )


def _check_metadata(key: str, value: str | bytes) -> None:
    # gRPC would refuse it at every call, which looks like an outage. The value is often a token, so it is not quoted.
    if not re.fullmatch(r"[0-9a-z_.-]+", key):
        raise ValueError(f"metadata key {key!r} must be lower-case letters, digits, '_', '.' and '-'")
    if not key.endswith("-bin") and not (isinstance(value, str) and re.fullmatch(r"[\x20-\x7e]*", value)):
        raise ValueError(f"the value of metadata {key!r} must be printable ASCII; is there a newline at its end?")


def check_timeout(seconds: float, name: str = "timeout") -> float:
    """`seconds`, if it is a positive, finite number.

    Raises:
        ValueError: It is not.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"{name} must be a positive number of seconds; a call without a deadline could wait forever")
    return seconds
