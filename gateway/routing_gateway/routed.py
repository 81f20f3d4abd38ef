"""POST /v1/chat/completions: a router's name in the place of a model's is decided on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from routing_client.dispatch import Ask, Dispatcher, Routing, Send, Step
from routing_client.exceptions import RoutingError
from routing_client.flow import Flow, run_async
from routing_client.model_names import ModelNameError

from routing_gateway.attempts import Answer
from routing_gateway.errors import GatewayError, from_routing_error
from routing_gateway.headers import RawHeaders, field_value, header
from routing_gateway.json_body import JsonBody
from routing_gateway.logs import log
from routing_gateway.proxy import Proxy, request_for
from routing_gateway.upstream import FAILOVER_STATUSES, UpstreamError

if TYPE_CHECKING:
    from routing_gateway.exchange import Exchange
    from routing_gateway.state import State


class _AttemptError(Exception):
    """The chosen model failed in a way that the other one may not. Inside this file only.

    Args:
        why: As `Routing.failover_reason`.
        answer: The upstream's, when it gave one.
    """

    def __init__(self, why: str, answer: Answer | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.answer = answer


class ChatCompletions(Proxy):
    """Runs the client library's own flow: decide, fall back, fail over."""

    label = "chat_completions"

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._dispatcher = Dispatcher(state.config.endpoints, _why_failed)

    async def handle(self, exchange: Exchange, body: bytes) -> None:
        """Answer with what the model says that the body's `model` and `messages` lead to."""
        if header(exchange.headers, b"content-encoding") not in (None, b"identity"):
            raise GatewayError(415, "send the body without a content-encoding", code="unsupported_content_encoding")
        chat = JsonBody(body)
        model = chat.fields.get("model")
        if not isinstance(model, str) or not model:
            raise GatewayError(400, "model must be a string that is not empty", param="model", code="model_missing")
        flow = self._dispatcher.dispatch(model, lambda: _messages(chat))
        try:
            answer, routing = await self._run(flow, exchange, chat)
        except ModelNameError as error:
            raise GatewayError(400, error.message, param="model", code="invalid_model") from None
        except RoutingError as error:
            told = from_routing_error(error)
            if told.status >= 500:
                log.warning("%s: no decision: %s", self.label, told.code)
            raise told from None
        await self._attempts.relay(answer, exchange, _headers(routing))

    async def _run(self, flow: Flow[Step, Any], exchange: Exchange, chat: JsonBody) -> tuple[Answer, Routing]:
        failed: tuple[Answer, Routing] | None = None

        async def perform(step: Step) -> Any:
            nonlocal failed
            if isinstance(step, Ask):
                return await self._ask(step)
            try:
                return await self._send(step, exchange, chat)
            except _AttemptError as error:
                if error.answer is not None:
                    failed = error.answer, step.routing
                raise

        try:
            done: tuple[Answer, Routing] = await run_async(flow, perform)
        except UpstreamError:
            if failed is None:
                raise
            return failed  # what the chosen model said is more than that the other one says nothing
        except BaseException:
            if failed is not None:
                failed[0].response.close()
            raise
        else:
            if failed is not None:
                failed[0].response.close()
            return done

    async def _ask(self, step: Ask) -> Any:
        if step.method == "routers":
            return await step.of(self._state.client)
        begun = time.perf_counter()
        try:
            return await step.of(self._state.client)
        finally:
            self._metrics.decision_seconds.observe(time.perf_counter() - begun)

    async def _send(self, step: Send, exchange: Exchange, chat: JsonBody) -> tuple[Answer, Routing]:
        routing = step.routing
        if routing.failed_over_from is None:
            self._count(routing)
        elif routing.failover_reason is not None:
            self._metrics.failovers.labels(routing.failed_over_from, routing.failover_reason).inc()
        targets = self._state.targets
        target = targets.decided(routing.model) if routing.is_routed else targets.asked(routing.model)
        request = request_for(exchange, chat.raw, chat, target)
        try:
            answer = await self._attempts.open(request, target, await_first_byte=not step.is_last)
        except UpstreamError as error:
            if step.is_last:
                raise
            raise _AttemptError("timeout" if error.kind == "timeout" else "connection") from error
        if not step.is_last and answer.response.status in FAILOVER_STATUSES:
            raise _AttemptError(str(answer.response.status), answer)
        return answer, routing

    def _count(self, routing: Routing) -> None:
        if routing.decision is not None:
            self._metrics.decisions.labels(routing.decision.router, routing.decision.tier.value).inc()
        if routing.fallback is not None:
            self._metrics.fallbacks.labels(routing.fallback).inc()


def _messages(chat: JsonBody) -> list[Any]:
    messages = chat.fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise GatewayError(
            400, "messages must be a list of at least one message", param="messages", code="messages_missing"
        )
    return messages


def _why_failed(error: Exception) -> str | None:
    return error.why if isinstance(error, _AttemptError) else None


def _headers(routing: Routing) -> RawHeaders:
    if not routing.is_routed:
        return []
    said: dict[bytes, object] = {b"model": routing.model}
    if routing.decision is not None:
        decision = routing.decision
        said |= {
            b"tier": decision.tier.value,
            b"router": decision.router,
            b"decision-id": decision.decision_id,
            b"win-rate": decision.strong_win_rate,
            b"threshold": decision.threshold,
        }
    said |= {
        b"fallback": routing.fallback,
        b"failover": routing.failed_over_from,
        b"failover-reason": routing.failover_reason,
    }
    return [(b"x-routing-" + name, field_value(str(value))) for name, value in said.items() if value not in (None, "")]
