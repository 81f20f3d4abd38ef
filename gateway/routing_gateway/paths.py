"""Which resource a path means. Programs spell it in several ways; where a path leads elsewhere, it leads nowhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from routing_gateway.errors import GatewayError
from routing_gateway.headers import tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_ADVICE = "paths of OpenAI's API begin with /v1 here, so that a client's base URL is http://HOST:PORT/v1"
_USUAL = frozenset({b"/v1/chat/completions", b"/v1/completions", b"/v1/responses", b"/v1/embeddings", b"/v1/models"})
_SLASHES = re.compile(r"/{2,}")
# Of clients whose base URL has it too, or has what other servers put before it.
_BEFORE_V1 = re.compile(r"(?:/(?:openai|api))?(?:/v1)+(?=/)")
# Of clients whose base URL lacks it.
_WITHOUT_V1 = re.compile(r"/(?:chat/completions|completions|responses|embeddings|models)(?=/|$)")
_AZURE = re.compile(r"/openai/deployments/", re.IGNORECASE)
_SEPARATOR = re.compile(r"[/\\]")  # servers on Windows take both
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_ESCAPES = 4


class Paths:
    """Gives each request the usual spelling of its path before it is routed, and answers those that have none.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                _refuse_websocket(scope)
                raw = scope.get("raw_path") or scope["path"].encode()
                if raw not in _USUAL:
                    path = normalized(raw.decode("latin-1").partition("?")[0])
                    scope = {**scope, "path": unquote(path), "raw_path": path.encode("latin-1")}
            except GatewayError as error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def normalized(path: str) -> str:
    """The usual spelling of a path, still escaped.

    Raises:
        GatewayError: 404; it could lead out of where it begins, or is of another API.
    """
    if _climbs(path):
        raise GatewayError(404, "there is no such path", code="not_found")
    path = _SLASHES.sub("/", path)
    if len(path) > 1:
        path = path.removesuffix("/")
    if _AZURE.match(path):
        raise GatewayError(404, f"Azure's paths are not served; use OpenAI's client: {_ADVICE}", code="not_found")
    path = _BEFORE_V1.sub("/v1", path, count=1) if _BEFORE_V1.match(path) else path
    if _WITHOUT_V1.match(path):
        path = f"/v1{path}"
    # Escaped, `/v1` would be the start of a path to one reader and not to the next.
    if unquote(path).startswith("/v1") and not path.startswith("/v1/"):
        raise GatewayError(404, f"there is no such path; {_ADVICE}", code="not_found")
    return path


def no_such_path(status: int) -> GatewayError:
    """What to say of a path that nobody answers, or not for that method."""
    if status == 405:
        return GatewayError(status, "this path does not take that method", code="method_not_allowed")
    return GatewayError(status, f"there is no such path; {_ADVICE}", code="not_found")


def _climbs(path: str) -> bool:
    """Whether a reader who undoes escapes, once or more often, could find a segment that leads upwards."""
    for _ in range(_MAX_ESCAPES):
        if _CONTROL.search(path):
            return True
        for segment in _SEPARATOR.split(path):
            # What follows a semicolon is a parameter to some servers, and not part of the name.
            if segment.partition(";")[0].strip() in {".", ".."}:
                return True
        plain = unquote(path, "latin-1")
        if plain == path:
            return False
        path = plain
    return True  # escaped again and again: nobody means that


def _refuse_websocket(scope: Scope) -> None:
    """Say at once that there are no WebSockets: programs then send a plain request."""
    if b"websocket" in tokens(scope["headers"], b"upgrade"):
        raise GatewayError(
            426,
            "there are no WebSockets here; send a plain request",
            code="no_websocket",
            headers={"upgrade": "HTTP/1.1", "connection": "upgrade, close"},
        )
