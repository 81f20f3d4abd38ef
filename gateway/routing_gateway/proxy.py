"""What all paths that upstreams answer have in common, and those among them that are not routed."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING
from urllib.parse import unquote

from routing_client.model_names import PREFIX

from routing_gateway.errors import SERVER, GatewayError
from routing_gateway.exchange import CallerGoneError, Exchange
from routing_gateway.headers import header
from routing_gateway.json_body import JsonBody
from routing_gateway.logs import fault, log
from routing_gateway.upstream import UpstreamError, UpstreamRequest

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from routing_gateway.state import State
    from routing_gateway.targets import Target

_SEPARATOR = re.compile(r"[/\\]")  # servers on Windows take both
_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; nobody receives it


class Proxy(ABC):
    """An ASGI endpoint that passes requests on: limits, errors, numbers. Subclasses say to whom."""

    label = ""
    """The path, for metrics and logs."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._attempts = state.attempts
        self._metrics = state.metrics
        self._seconds = state.metrics.request_seconds.labels(self.label)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        begun = time.perf_counter()
        self._state.in_flight += 1
        try:
            await self._guarded(exchange)
        finally:
            self._state.in_flight -= 1
            took = time.perf_counter() - begun
            self._metrics.requests.labels(self.label, str(exchange.status or _CLIENT_CLOSED_REQUEST)).inc()
            self._seconds.observe(took)
            log.info("%s %s status=%s %.1fms", exchange.method, self.label, exchange.status, 1e3 * took)

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
            log.warning("%s: the upstream of %r: %s", self.label, error.target.name, error.kind)
            if not exchange.started:
                await exchange.fail(error.as_answer())
            # Else the answer stays unfinished, the server closes the connection, and the caller sees that it was cut.
        except Exception as error:
            answer = fault(self.label, error)
            if not exchange.started:
                await exchange.fail(answer)

    async def _limited(self, exchange: Exchange) -> None:
        limits = self._state.config
        if self._state.in_flight > limits.max_concurrent:
            raise GatewayError(
                503,
                "the gateway has as many requests in flight as it accepts; try again after a pause",
                kind=SERVER,
                code="gateway_overloaded",
                retry_after_s=1,
            )
        body = await exchange.read_body(limits.max_body_bytes)
        async with exchange.cancelled_when_gone():
            await self.handle(exchange, body)


class PassThrough(Proxy):
    """Any other path under /v1: to the endpoint of the body's model, or else to the default one."""

    label = "other"

    async def handle(self, exchange: Exchange, body: bytes) -> None:
        """Answer with what the upstream says."""
        json_body = _json_or_none(exchange, body)
        target = self._target(json_body)
        request = request_for(exchange, body, json_body, target)
        answer = await self._attempts.open(request, target, await_first_byte=False)
        await self._attempts.relay(answer, exchange, [])

    def _target(self, body: JsonBody | None) -> Target:
        model = body.fields.get("model") if body is not None else None
        if not isinstance(model, str):
            target = self._state.targets.default()
        elif model.startswith(PREFIX):
            raise GatewayError(
                400,
                f"{model!r} asks for a decision, which only POST /v1/chat/completions gives; name a model here",
                param="model",
                code="not_routed",
            )
        else:
            target = self._state.targets.asked(model)
        if target is None:
            raise GatewayError(
                404,
                "no upstream is configured for this path; add `default` to the configuration, or give --base-url",
                code="no_upstream",
            )
        return target


def request_for(exchange: Exchange, body: bytes, json_body: JsonBody | None, target: Target) -> UpstreamRequest:
    """The caller's request as `target` is to get it: with the model's name as the upstream knows it."""
    if json_body is not None and target.model and json_body.fields.get("model") != target.upstream_model:
        body = json_body.replaced("model", target.upstream_model)
    query = f"?{exchange.query.decode('latin-1')}" if exchange.query else ""
    return UpstreamRequest(exchange.method, _below_v1(exchange.raw_path) + query, exchange.headers, body)


def _below_v1(raw_path: str) -> str:
    """What to add to a base URL, with its first slash.

    Without that, or with dots between slashes, however they are escaped, it could lead out of the base URL's path, or
    even to another host: `http://a` and `%2F@b/` are `http://a%2F@b/`.
    """
    inside = raw_path.startswith("/v1/")
    if not inside or not {".", ".."}.isdisjoint(_SEPARATOR.split(unquote(raw_path))):
        raise GatewayError(404, "there is no such path", code="not_found")
    return raw_path.removeprefix("/v1")


def _json_or_none(exchange: Exchange, body: bytes) -> JsonBody | None:
    kind = header(exchange.headers, b"content-type") or b""
    if not body or b"json" not in kind or header(exchange.headers, b"content-encoding") is not None:
        return None
    try:
        return JsonBody(body)
    except GatewayError:
        return None  # the upstream says best what is wrong with it
