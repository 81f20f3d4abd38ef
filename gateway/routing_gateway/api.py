"""The paths that the gateway answers itself: its state, the models, and what its page asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from routing_client.exceptions import RoutingError
from routing_client.model_names import PREFIX, ModelNameError, parse_model
from routing_client.types import Tier
from starlette.responses import JSONResponse, Response

from routing_gateway.bodies.large import Wanted
from routing_gateway.errors import GatewayError, from_routing_error
from routing_gateway.logs import fault
from routing_gateway.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from routing_client.types import Decision, RouterInfo, RouterList
    from starlette.requests import Request

    from routing_gateway.state import State

_DECIDE_LIMIT_BYTES = 4 << 20
_SHOWN_CHARACTERS = 2000
_BROKEN = frozenset({"unreachable", "timeout", "broken"})
_POLICY = ("router", "threshold", "strong_share", "policy")
_WANTED = {"prompt": Wanted.TEXT, "messages": Wanted.MESSAGES, **dict.fromkeys(_POLICY, Wanted.SHORT)}

Handler = Callable[["State", "Request"], Awaitable[Response]]


def endpoint(state: State, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A handler as Starlette has it, whose exceptions are answered."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(state, request)
        except GatewayError as error:
            return error.response()
        except RoutingError as error:
            return from_routing_error(error, {}).response()
        except Exception as error:
            return fault(request.url.path, error).response()

    return answer


async def health(state: State, _request: Request) -> Response:
    """`GET /health`: 200 while requests can be answered, with a fallback if need be; else 503."""
    service = await state.probe.state()
    upstreams = {name: each.as_json() for name, each in state.upstreams.health.items()}
    serving = service == "SERVING"
    sound = serving and not any(each["state"] in _BROKEN for each in upstreams.values())
    can_answer = bool(upstreams) and (serving or state.config.endpoints.fallback_model is not None)
    return _json(
        {
            "status": "unavailable" if not can_answer else "ok" if sound else "degraded",
            "service": service,
            "upstreams": upstreams,
            "in_flight": state.in_flight,
        },
        200 if can_answer else 503,
    )


async def metrics(state: State, _request: Request) -> Response:
    """`GET /metrics`."""
    return Response(state.metrics.page(), headers={"content-type": CONTENT_TYPE})


async def models(state: State, _request: Request) -> Response:
    """`GET /v1/models`: policies and routers as models, then the real ones; only these while the service is out."""
    names: list[str] = []
    with suppress(RoutingError):
        served = await state.client.routers()
        names = [*(each.name for each in served.policies), *(each.name for each in served)]
    listed = [_model(f"{PREFIX}{name}", "routing-service") for name in dict.fromkeys(names)]
    listed += [_model(name, "upstream") for name in state.config.endpoints]
    return _json({"object": "list", "data": listed})


async def model(state: State, request: Request) -> Response:
    """`GET /v1/models/NAME`, for any form of a router's name too."""
    name = request.url.path.removeprefix("/v1/models/")
    try:
        routed = parse_model(name)
    except ModelNameError as error:
        raise GatewayError(404, error.message, param="model", code="model_not_found") from None
    if routed is not None:
        served = await state.client.routers()
        policies = {each.name for each in served.policies} if routed.is_named else set()
        if routed.name in policies or any(each.name == routed.name for each in served):
            return _json(_model(name, "routing-service"))
    elif name in state.config.endpoints:
        return _json(_model(name, "upstream"))
    raise GatewayError(404, f"there is no model {name!r} here", param="model", code="model_not_found")


async def decide(state: State, request: Request) -> Response:
    """`POST /api/decide`: the decision for `prompt` or `messages`; no upstream is asked."""
    raw = await _body(request, min(_DECIDE_LIMIT_BYTES, state.config.max_body_bytes))
    fields = (await state.bodies.json(request.scope["headers"], raw, _WANTED)).fields
    given = {name: fields[name] for name in ("prompt", "messages") if fields.get(name) is not None}
    if len(given) != 1:
        raise GatewayError(400, "give prompt or messages", param="prompt", code="input_missing")
    policy = {name: fields[name] for name in _POLICY if fields.get(name) is not None}
    decision = await state.client.decide(*given.values(), explain=True, **policy)
    return _json({**_decision(decision, _chosen(state, decision)), "read": _read(given.get("prompt"), decision)})


async def routers(state: State, _request: Request) -> Response:
    """`GET /api/routers`: all that the page needs to know."""
    served = await state.client.routers()
    endpoints = state.config.endpoints
    pair = served.default.models if served.default is not None else None
    return _json(
        {
            "routers": [_router(each) for each in served],
            "policies": _policies(served),
            "models": [
                {"name": name, "input_price": each.input_price, "output_price": each.output_price}
                for name, each in endpoints.items()
            ],
            "strong_model": endpoints.strong_model or (pair.strong if pair else None),
            "weak_model": endpoints.weak_model or (pair.weak if pair else None),
            "echo": state.config.echo,
        }
    )


def _json(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, {"cache-control": "no-store"})


async def _body(request: Request, limit: int) -> bytes:
    """The request's body.

    Raises:
        GatewayError: 413; it is larger than `limit` bytes.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise GatewayError(413, f"the request body is larger than {limit} bytes", code="request_too_large")
    return bytes(body)


def _chosen(state: State, decision: Decision) -> str:
    """The model that would answer: the configured one for the tier, else the one that the decision names."""
    endpoints = state.config.endpoints
    return {Tier.STRONG: endpoints.strong_model, Tier.WEAK: endpoints.weak_model}.get(decision.tier) or decision.model


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def _router(router: RouterInfo) -> dict[str, Any]:
    table = router.calibration
    return {
        "name": router.name,
        "type": router.type,
        "revision": router.revision,
        "models": {"strong": router.models.strong, "weak": router.models.weak},
        "is_default": router.is_default,
        "calibration": table
        and {
            "source": table.source,
            "sample_size": table.sample_size,
            "points": [{"strong_share": each.strong_share, "threshold": each.threshold} for each in table.points],
        },
    }


def _policies(served: RouterList) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "router": each.router, "threshold": each.threshold, "is_default": each.is_default}
        for each in served.policies
    ]


def _decision(decision: Decision, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "tier": decision.tier.value,
        "strong_win_rate": decision.strong_win_rate,
        "threshold": decision.threshold,
        "router": decision.router,
        "router_revision": decision.router_revision,
        "decision_id": decision.decision_id,
        "reason": decision.reason.value,
        "fallback_reason": decision.fallback_reason,
        "prompt_tokens": decision.prompt_tokens,
        "truncated": decision.truncated,
        "rule": decision.rule or None,
    }


def _read(prompt: Any, decision: Decision) -> str | None:
    """What was read of a prompt, where that is not all of it; the beginning of a long text."""
    if not isinstance(prompt, str) or decision.explanation is None:
        return None
    raw = prompt.encode("utf-8", "surrogatepass")
    pieces = [raw[span.begin : span.end] for span in decision.explanation.spans]
    if not pieces or sum(map(len, pieces)) == len(raw):
        return None
    return b"".join(pieces).decode("utf-8", "replace")[:_SHOWN_CHARACTERS]
