"""Paths that are not routed: to the server of the request's model, or else to the default one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from routing_gateway.asks import RESPONSES
from routing_gateway.errors import GatewayError
from routing_gateway.proxy import Proxy, request_for

if TYPE_CHECKING:
    from routing_gateway.bodies.body import Body
    from routing_gateway.exchange import Exchange
    from routing_gateway.state import State
    from routing_gateway.targets import Target


# `/v1/engines/MODEL/completions` and `DELETE /v1/models/MODEL` have the model here and nowhere else.
_MODEL_IN_PATH = re.compile(r"/v1/(?:engines|deployments|models)/([^/]+)")


class PassThrough(Proxy):
    """Answers any other path under /v1 with what an upstream says."""

    def __init__(self, state: State) -> None:
        super().__init__(state, "other")

    async def handle(self, exchange: Exchange, body: bytes) -> None:
        """Answer with what the upstream says."""
        read = await self._state.bodies.any(exchange.headers, body)
        target = self._target(exchange, read)
        answer = await self._state.upstreams.open(request_for(exchange, read, target), target, await_first_byte=False)
        await self._state.upstreams.relay(answer, exchange, [])

    def _target(self, exchange: Exchange, body: Body) -> Target:
        model = asked_model(body.model)
        if model is None:
            model = dict(parse_qsl(exchange.query.decode("latin-1"))).get("model")
        if model is None and (named := _MODEL_IN_PATH.match(exchange.path)):
            model = named[1]
        if model is None:
            model = self._of_response(exchange.raw_path)
        if model is None:
            return self._state.targets.default()
        if self._state.targets.names_router(model):
            raise GatewayError(
                400,
                f"{model[:300]!r} asks for a decision, which only POST to /v1/chat/completions, /v1/completions and "
                "/v1/responses gives; name a model here",
                param="model",
                code="not_routed",
            )
        return self._state.targets.asked(self._state.config.endpoints.resolve(model))

    def _of_response(self, path: str) -> str | None:
        """The model of the response that a path such as `/v1/responses/ID/cancel` names."""
        if not path.startswith(f"{RESPONSES.path}/"):
            return None
        return self._state.responses.model(path.removeprefix(f"{RESPONSES.path}/").partition("/")[0])


def asked_model(model: Any) -> str | None:
    """The model that a body names; None when it names none.

    Raises:
        GatewayError: 400; it is no name.
    """
    if model is None or (isinstance(model, str) and model):
        return model
    raise GatewayError(400, "model must be a string that is not empty", param="model", code="model_missing")
