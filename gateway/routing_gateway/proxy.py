"""What all paths that upstreams answer have in common: limits, errors, numbers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from routing_gateway.errors import SERVER, GatewayError
from routing_gateway.exchange import CallerGoneError, Exchange
from routing_gateway.logs import fault, log
from routing_gateway.upstream_errors import UpstreamError
from routing_gateway.upstreams import UpstreamRequest

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from routing_gateway.bodies.body import Body
    from routing_gateway.state import State
    from routing_gateway.targets import Target

_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; nobody receives it


class Proxy(ABC):
    """An ASGI endpoint that passes requests on. Subclasses say to whom.

    Args:
        state: The gateway's.
        label: The path, for metrics and logs.
    """

    def __init__(self, state: State, label: str) -> None:
        self._state = state
        self._label = label
        self._metrics = state.metrics
        self._seconds = state.metrics.request_seconds.labels(label)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        begun = time.perf_counter()
        try:
            await self._guarded(exchange)
        finally:
            took = time.perf_counter() - begun
            self._metrics.requests.labels(self._label, str(exchange.status or _CLIENT_CLOSED_REQUEST)).inc()
            self._seconds.observe(took)
            log.info("%s %s status=%s %.1fms", exchange.method, self._label, exchange.status, 1e3 * took)

    @abstractmethod
    async def handle(self, exchange: Exchange, body: bytes) -> None:
        """Answer a request.

        Raises:
            GatewayError: What to answer instead.
            UpstreamError: The upstream gave no answer, or not all of it.
        """

    async def _guarded(self, exchange: Exchange) -> None:
        """Handle, and answer whatever goes wrong, or break the connection where an answer has begun."""
        try:
            await self._limited(exchange)
        except CallerGoneError:
            exchange.status = _CLIENT_CLOSED_REQUEST
        except GatewayError as error:
            await exchange.fail(error)
        except UpstreamError as error:
            log.warning("%s: %s", self._label, error)
            if not exchange.started:
                await exchange.fail(error.as_answer())
            # Else the answer stays unfinished, the server closes the connection, and the caller sees that it was cut.
        except Exception as error:
            answer = fault(self._label, error)
            if not exchange.started:
                await exchange.fail(answer)

    async def _limited(self, exchange: Exchange) -> None:
        limits = self._state.config
        # Whoever sends slowly, or nothing, must not keep others out: a slot is taken when all is there.
        body = await exchange.read_body(limits.max_body_bytes)
        if self._state.in_flight >= limits.max_concurrent:
            raise GatewayError(
                503,
                "the gateway has as many requests in flight as it accepts; try again after a pause",
                kind=SERVER,
                code="gateway_overloaded",
                retry_after_s=1,
            )
        self._state.in_flight += 1
        try:
            async with exchange.cancelled_when_gone():
                await self.handle(exchange, body)
        finally:
            self._state.in_flight -= 1


def request_for(exchange: Exchange, body: Body, target: Target) -> UpstreamRequest:
    """The caller's request as `target` is to get it: with the model's name as the upstream knows it."""
    raw = body.with_model(target.upstream_model) if target.model else body.raw
    path = exchange.raw_path.removeprefix("/v1")
    return UpstreamRequest(exchange.method, path, exchange.query.decode("latin-1"), exchange.headers, raw)
