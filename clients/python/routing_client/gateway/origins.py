"""Which web pages may use the gateway from a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from routing_client.gateway.errors import GatewayError
from routing_client.gateway.exchange import Exchange
from routing_client.gateway.headers import header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send


class OriginGuard:
    """Refuses requests that a browser sends for a page of another origin, unless that is allowed.

    Without CORS a foreign page cannot read an answer, but it can make requests, which would spend the gateway's keys.

    Args:
        app: What to guard.
        allowed: Origins as `https://app.example`; `*` stands for all.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            origin = header(scope["headers"], b"origin")
            if origin is not None and not self._may(origin.decode("latin-1"), header(scope["headers"], b"host") or b""):
                await Exchange(scope, receive, send).fail(
                    GatewayError(403, "pages of this origin may not use the gateway", code="origin_not_allowed")
                )
                return
        await self._app(scope, receive, send)

    def _may(self, origin: str, host: bytes) -> bool:
        if "*" in self._allowed or origin in self._allowed:
            return True
        try:
            return urlsplit(origin).netloc == host.decode("latin-1")
        except ValueError:
            return False
