"""The gateway as an ASGI application: the one place that wires."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from routing_gateway import api
from routing_gateway.asks import CHAT, COMPLETIONS, RESPONSES
from routing_gateway.origins import OriginGuard
from routing_gateway.page_files import PageFiles
from routing_gateway.pass_through import PassThrough
from routing_gateway.paths import Paths, no_such_path
from routing_gateway.routed import Routed
from routing_gateway.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from routing_client.aio import AsyncRoutingClient
    from starlette.requests import Request
    from starlette.responses import Response

    from routing_gateway.config import GatewayConfig

ROUTING_HEADERS = tuple(
    f"x-routing-{name}"
    for name in (
        "model",
        "tier",
        "win-rate",
        "threshold",
        "router",
        "decision-id",
        "rule",
        "fallback",
        "failover",
        "failover-reason",
    )
)
_ANY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(config: GatewayConfig, *, client: AsyncRoutingClient | None = None) -> Starlette:
    """The gateway for `config`.

    Args:
        config: What to serve.
        client: Asks for decisions in place of one for the configured service; for tests.
    """
    state = State(config, client)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await state.start()
        try:
            yield
        finally:
            await state.close()

    def own(path: str, handler: api.Handler, method: str = "GET") -> Route:
        return Route(path, api.endpoint(state, handler), methods=[method])

    page = PageFiles()
    app = Starlette(
        routes=[
            *(Route(ask.path, Routed(state, ask), methods=["POST"]) for ask in (CHAT, COMPLETIONS, RESPONSES)),
            own("/v1/models", api.models),
            own("/v1/models/{name:path}", api.model),
            Route("/v1/{path:path}", PassThrough(state), methods=_ANY_METHOD),
            own("/health", api.health),
            own("/metrics", api.metrics),
            own("/api/decide", api.decide, "POST"),
            own("/api/routers", api.routers),
            own("/", page),
            own("/page/{path:path}", page),
        ],
        middleware=_middleware(config),
        exception_handlers={HTTPException: _no_such_path},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # `Paths` has made one spelling of each
    app.state.gateway = state
    return app


def _middleware(config: GatewayConfig) -> list[Middleware]:
    inner = [Middleware(OriginGuard, allowed=config.cors_origins), Middleware(Paths)]
    if not config.cors_origins:
        return inner
    cors = Middleware(
        CORSMiddleware,
        allow_origins=config.cors_origins,
        allow_methods=_ANY_METHOD,
        allow_headers=["*"],
        expose_headers=ROUTING_HEADERS,
    )
    return [cors, *inner]


async def _no_such_path(_request: Request, error: Exception) -> Response:
    answer = no_such_path(error.status_code if isinstance(error, HTTPException) else 500).response()
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer
