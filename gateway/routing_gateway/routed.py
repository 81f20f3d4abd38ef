"""Paths that are routed: a router's name in the place of a model's is decided on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from routing_client.dispatch import Dispatcher, Routing, Send, Step
from routing_client.exceptions import RoutingError
from routing_client.flow import run_async
from routing_client.model_names import ModelNameError

from routing_gateway.asks import RESPONSES, Ask, has_words
from routing_gateway.errors import GatewayError, from_routing_error
from routing_gateway.headers import RawHeaders, field_value
from routing_gateway.logs import log
from routing_gateway.pass_through import asked_model
from routing_gateway.proxy import Proxy, request_for
from routing_gateway.upstream_errors import UpstreamError
from routing_gateway.upstreams import FAILOVER_STATUSES, UpstreamResponse

if TYPE_CHECKING:
    from routing_gateway.bodies.body import Body
    from routing_gateway.exchange import Exchange
    from routing_gateway.state import State
    from routing_gateway.targets import Target


class _AttemptError(Exception):
    """The chosen model failed in a way that the other one may not. Inside this file only.

    Args:
        why: As `Routing.failover_reason`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Routed(Proxy):
    """Runs the client library's own flow: decide, fall back, fail over.

    Args:
        state: The gateway's.
        ask: How the path's requests are read.
    """

    def __init__(self, state: State, ask: Ask) -> None:
        super().__init__(state, ask.label)
        self._ask = ask
        self._dispatcher = Dispatcher(state.config.endpoints, lambda e: e.why if isinstance(e, _AttemptError) else None)

    async def handle(self, exchange: Exchange, body: bytes) -> None:
        """Answer with what the model says that the body leads to."""
        read = await self._state.bodies.json(exchange.headers, body, self._ask.wanted)
        if read.model is None and not self._ask.needs_model:
            await self._to_default(exchange, read)
            return
        model = asked_model(read.model)
        if model is None:
            raise GatewayError(400, "model must be a string that is not empty", param="model", code="model_missing")
        call = _Call(self._state, self._ask, exchange, read)
        try:
            answer, routing = await call.run(self._dispatcher, model)
        except ModelNameError as error:
            raise GatewayError(400, error.message, param="model", code="invalid_model") from None
        except RoutingError as error:
            told = from_routing_error(error)
            if told.status >= 500:
                proxy = self._state.config.service_proxy
                through = "" if proxy is None else f" (through the proxy {proxy})"
                log.warning("%s: no decision: %s%s", self._label, told.code, through)
            raise told from None
        seen = None
        if self._ask is RESPONSES and answer.response.status == 200:
            seen = self._state.responses.reader(answer.target.model)
        added = _headers(routing, with_model=call.goes_on)
        await self._state.upstreams.relay(answer, exchange, added, seen)

    async def _to_default(self, exchange: Exchange, body: Body) -> None:
        target = self._state.targets.default()
        answer = await self._state.upstreams.open(request_for(exchange, body, target), target, await_first_byte=False)
        await self._state.upstreams.relay(answer, exchange, [])


class _Call:
    """One request on its way: to the decision service, to a model, and perhaps to the other one."""

    def __init__(self, state: State, ask: Ask, exchange: Exchange, body: Body) -> None:
        self._state = state
        self._ask = ask
        self._exchange = exchange
        self._body = body
        self._refused: tuple[UpstreamResponse, Routing] | None = None
        """What the chosen model answered, when the other one is to be asked instead."""
        self._before = state.responses.model(body.fields.get("previous_response_id"))
        """Who gave the response that this request goes on from."""
        self.goes_on = False
        """Whether that model answers because there was nothing to decide on."""

    async def run(self, dispatcher: Dispatcher, model: str) -> tuple[UpstreamResponse, Routing]:
        """The answer to pass on, and how it came about.

        Raises:
            ModelNameError: The model string is wrong.
            RoutingError: There is no decision and no fallback.
            UpstreamError: Nobody answered.
            GatewayError: There is nothing to decide on, or no endpoint.
        """
        if self._before is not None and self._state.targets.names_router(model) and not self._has_words():
            # A tool's results and nothing to decide on: the model that asked for them goes on.
            routing = Routing(self._before)
            self.goes_on = True
            return await self._send(Send(routing, None, is_last=True, strong_model=None)), routing
        flow = dispatcher.dispatch(model, lambda: self._ask.prompt(self._body))
        try:
            done: tuple[UpstreamResponse, Routing] = await run_async(flow, self._perform)
        except UpstreamError:
            if self._refused is None:
                raise
            return self._refused  # what the chosen model said is more than that the other one says nothing
        except BaseException:
            self._close_refused()
            raise
        self._close_refused()
        return done

    def _close_refused(self) -> None:
        if self._refused is not None:
            self._refused[0].response.close()

    def _has_words(self) -> bool:
        return has_words(self._ask.prompt(self._body))

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._send(step), step.routing
        if step.method == "routers":
            return await step.of(self._state.client)
        begun = time.perf_counter()
        try:
            return await step.of(self._state.client)
        finally:
            self._state.metrics.decision_seconds.observe(time.perf_counter() - begun)

    async def _send(self, step: Send) -> UpstreamResponse:
        routing = step.routing
        self._count(routing)
        target = self._target(routing)
        request = request_for(self._exchange, self._body, target)
        if self._ask is RESPONSES:
            request = replace(request, headers=_uncompressed(request.headers))
        try:
            answer = await self._state.upstreams.open(request, target, await_first_byte=not step.is_last)
        except UpstreamError as error:
            if step.is_last:
                raise
            log.warning("%s: %s", self._ask.label, error)
            raise _AttemptError("timeout" if error.kind == "timeout" else "connection") from error
        if not step.is_last and answer.response.status in FAILOVER_STATUSES:
            self._refused = answer, routing
            raise _AttemptError(str(answer.response.status))
        return answer

    def _target(self, routing: Routing) -> Target:
        targets = self._state.targets
        if not routing.is_routed:
            return targets.asked(routing.model)
        target = targets.decided(routing.model)
        before = None if self._before is None else targets.find(self._before)
        if before is not None and before.endpoint.base_url != target.endpoint.base_url:
            # No other server knows the response that this request goes on from.
            routing.model = before.model
            return before
        return target

    def _count(self, routing: Routing) -> None:
        metrics = self._state.metrics
        if routing.failed_over_from is not None:
            metrics.failovers.labels(routing.failed_over_from, routing.failover_reason or "").inc()
            return
        if routing.decision is not None:
            metrics.decisions.labels(routing.decision.router, routing.decision.tier.value).inc()
        if routing.fallback is not None:
            metrics.fallbacks.labels(routing.fallback).inc()


def _uncompressed(headers: RawHeaders) -> RawHeaders:
    """Headers that ask for a plain answer, in which the response's id can be read."""
    return [each for each in headers if each[0] != b"accept-encoding"] + [(b"accept-encoding", b"identity")]


def _headers(routing: Routing, *, with_model: bool) -> RawHeaders:
    if not routing.is_routed and not with_model:
        return []
    said: dict[bytes, object] = {b"model": routing.model}
    if routing.decision is not None:
        decision = routing.decision
        said |= {
            b"tier": decision.tier.value,
            b"router": decision.router,
            b"decision-id": decision.decision_id,
            b"rule": decision.rule,
            b"win-rate": decision.strong_win_rate,
            b"threshold": decision.threshold,
        }
    said |= {
        b"fallback": routing.fallback,
        b"failover": routing.failed_over_from,
        b"failover-reason": routing.failover_reason,
    }
    return [(b"x-routing-" + name, field_value(str(value))) for name, value in said.items() if value not in (None, "")]
