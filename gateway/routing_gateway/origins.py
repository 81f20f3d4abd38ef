"""Which web pages may use the gateway from a browser."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from routing_gateway.errors import GatewayError
from routing_gateway.headers import header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from routing_gateway.headers import RawHeaders

# Names below these cannot be bought, so nobody's page is there: RFC 6761, RFC 6762, RFC 8375 and ICANN's `.internal`.
_RESERVED = (".localhost", ".local", ".internal", ".home.arpa", ".test")
_WEB = ("http://", "https://")
_FOREIGN = "pages of this origin may not use the gateway; --cors-origin lets one in"


class OriginGuard:
    """Refuses requests that a browser sends for a page of another origin, unless that is allowed.

    Without CORS a foreign page cannot read an answer, but it can make requests, which would spend the gateway's keys.
    And a page may have its own name lead to this machine ("DNS rebinding"), so that to the browser both are one origin:
    hence names that anybody could own are refused, where a browser may be the caller.

    Args:
        app: What to guard.
        allowed: Serialized origins as `https://app.example` or `app://obsidian.md`; `*` stands for all.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)
        # Only of the web's: `app://obsidian.md` is a program on this machine, and obsidian.md somebody's domain.
        self._names = {urlsplit(origin).hostname for origin in allowed if origin.startswith(_WEB)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" and "*" not in self._allowed else None
        if refusal is not None:
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> GatewayError | None:
        headers: RawHeaders = scope["headers"]
        host = (header(headers, b"host") or b"").decode("latin-1")
        origin = header(headers, b"origin")
        if (origin is not None or _is_from_here(scope)) and not self._is_ours(host):
            return GatewayError(
                403,
                f"the gateway does not know itself by the name {host[:300]!r}; if that is its own, start it with "
                "--cors-origin and this name, as https://NAME",
                code="host_not_allowed",
            )
        if origin is None:
            allowed = not _is_for_another_site(headers, scope["path"])
        else:
            allowed = origin.decode("latin-1") in self._allowed or _place(origin.decode("latin-1")) == host
        return None if allowed else GatewayError(403, _FOREIGN, code="origin_not_allowed")

    def _is_ours(self, host: str) -> bool:
        if not host:
            return True  # HTTP/1.0 without a name: no browser's
        name = _hostname(host)
        try:
            ip_address(name)
        except ValueError:
            return bool(name) and ("." not in name or name.endswith(_RESERVED) or name in self._names)
        return True


def _is_from_here(scope: Scope) -> bool:
    """Whether the connection came over the loopback, as it does from a browser on this machine."""
    try:
        address = ip_address((scope.get("server") or ("", 0))[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_for_another_site(headers: RawHeaders, path: str) -> bool:
    """Whether the browser says that another site asks, by an image or a form, say. Links to the page are welcome."""
    if header(headers, b"sec-fetch-site") not in {b"cross-site", b"same-site"}:
        return False
    return header(headers, b"sec-fetch-mode") != b"navigate" or path.startswith("/v1/")


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _place(url: str) -> str | None:
    """The host and port of a web page's origin; None when it is none."""
    if not url.startswith(_WEB):
        return None
    try:
        return urlsplit(url).netloc or None
    except ValueError:
        return None
