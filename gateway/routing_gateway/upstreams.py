"""Calls to upstreams over pooled connections. Answers are never decoded: what arrives is what is passed on.

The HTTP client is aiohttp: httpx takes some sixteen times as much processor time for a call (1.0 ms, not 0.06 ms), and
its pool gets slower with every open connection.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from yarl import URL

from routing_gateway import headers as header_rules
from routing_gateway.credentials import without_keys
from routing_gateway.upstream_errors import UpstreamError, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing_gateway.config import GatewayConfig
    from routing_gateway.exchange import Exchange
    from routing_gateway.headers import RawHeaders
    from routing_gateway.metrics import Metrics
    from routing_gateway.targets import Target

# Of final answers, by RFC 9110. Servers cannot send others on; 101 would hand the connection over.
_STATUSES = range(200, 600)
FAILOVER_STATUSES = frozenset({408, 429, *range(500, 600)})
# Servers close idle connections, uvicorn after 5 s: a shorter time here avoids most calls into a closing one.
_KEEP_ALIVE_S = 4.0
_STALE_S = 1.0
_BODY_PIECE_BYTES = 1 << 18
# So much is read before the answer begins, when its length is known: one write instead of several.
_WHOLE_ANSWER_BYTES = 1 << 16
_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
# aiohttp would add these of its own.
_NO_OWN_HEADERS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


@dataclass(slots=True)
class Health:
    """What the newest call to an endpoint came to."""

    state: str = "untried"
    """`untried`, `ok`, `failing` (429 and 5xx), `unreachable`, `timeout` or `broken`."""
    status: int | None = None
    at: float = field(default_factory=time.monotonic)

    def as_json(self) -> dict[str, Any]:
        """For `/health`."""
        shown: dict[str, Any] = {"state": self.state}
        if self.status is not None:
            shown["status"] = self.status
        if self.state != "untried":
            shown["seconds_ago"] = round(time.monotonic() - self.at, 1)
        return shown


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request to send, to one target or another."""

    method: str
    path: str
    """What follows the base URL."""
    query: str
    """Escaped; empty when there is none."""
    headers: RawHeaders
    """The caller's."""
    body: bytes


class UpstreamResponse(NamedTuple):
    """An upstream's answer, of which the rest of the body is still to come. Close its response when done."""

    target: Target
    response: aiohttp.ClientResponse
    first: bytes
    """What has been read of the body."""


class Upstreams:
    """All upstreams and the pool of connections to them. `start` and `close` run on the event loop that uses it.

    Args:
        config: Says where they are.
        metrics: Counts their answers.
    """

    def __init__(self, config: GatewayConfig, metrics: Metrics) -> None:
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        endpoints = dict(config.named_endpoints())
        self.health = {name: Health() for name in endpoints}
        self._timeouts = {
            name: aiohttp.ClientTimeout(
                total=None,
                sock_connect=config.connect_timeout_s,
                sock_read=endpoint.timeout or config.upstream_timeout_s,
            )
            for name, endpoint in endpoints.items()
        }
        self._bases = {name: endpoint.base_url.rstrip("/") for name, endpoint in endpoints.items()}
        # Read once: aiohttp would read the environment, and `~/.netrc` for keys, at every call.
        self._proxies = {name: config.proxy(name) for name in endpoints}

    async def start(self) -> None:
        """Make the pool."""
        # Requests in flight are bounded by the gateway, so the pool need not bound them again. A jar that keeps cookies
        # would send one caller's to the next.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NO_OWN_HEADERS,
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def open(self, request: UpstreamRequest, target: Target, *, await_first_byte: bool) -> UpstreamResponse:
        """Send, and wait for the answer's headers.

        Args:
            request: What to send.
            target: To whom.
            await_first_byte: Wait for that too, so that an answer which breaks before it can be had from another model.

        Raises:
            UpstreamError: There is no answer.
        """
        begun = time.perf_counter()
        seen = self._metrics.upstream_responses
        try:
            response = await self._send(request, target)
        except UpstreamError as error:
            self.health[target.name] = Health(error.kind)
            seen.labels(target.name, error.kind).inc()
            raise
        state = "failing" if response.status in FAILOVER_STATUSES else "ok"
        self.health[target.name] = Health(state, response.status)
        seen.labels(target.name, str(response.status)).inc()
        self._metrics.first_byte_seconds.labels(target.name).observe(time.perf_counter() - begun)
        try:
            return UpstreamResponse(target, response, await _first(response, await_first_byte))
        except (TimeoutError, aiohttp.ClientError) as error:
            response.close()
            raise self._broke(target, error) from error
        except BaseException:
            response.close()
            raise

    async def relay(
        self,
        answer: UpstreamResponse,
        exchange: Exchange,
        added: RawHeaders,
        seen: Callable[[bytes], None] | None = None,
    ) -> None:
        """Pass the answer on, each piece as it arrives, and close it.

        Args:
            answer: Whose.
            exchange: To whom.
            added: Headers of the gateway's own.
            seen: Called with each piece, before it is passed on.

        Raises:
            UpstreamError: The answer broke off.
        """
        response = answer.response
        try:
            await exchange.start(response.status, header_rules.to_caller(response.raw_headers, added))
            if seen is not None and answer.first:
                seen(answer.first)
            if response.content.at_eof():
                await exchange.body(answer.first, last=True)
                return
            if answer.first:
                await exchange.body(answer.first)
            async for data in response.content.iter_any():
                if seen is not None:
                    seen(data)
                await exchange.body(data)
            await exchange.body(b"", last=True)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise self._broke(answer.target, error) from error
        finally:
            response.close()  # of no effect on a connection whose answer was read to its end

    def _broke(self, target: Target, error: Exception) -> UpstreamError:
        """The error for an answer that ended in the middle."""
        kind = "timeout" if isinstance(error, TimeoutError) else "broken"
        self.health[target.name] = Health(kind)
        return UpstreamError(target, kind, cause_of(error))

    async def _send(self, request: UpstreamRequest, target: Target) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the pool has not been started")
        headers = header_rules.to_upstream(request.headers, target.endpoint, target.key)
        query = request.query if target.key is None else without_keys(request.query)
        url = URL(f"{self._bases[target.name]}{request.path}{f'?{query}' if query else ''}", encoded=True)
        proxy = self._proxies[target.name]
        attempts, begun = 2, time.monotonic()
        while True:
            attempts -= 1
            try:
                response = await self._session.request(
                    request.method,
                    url,
                    data=_payload(request),
                    headers=headers,
                    timeout=self._timeouts[target.name],
                    proxy=None if proxy is None else proxy.url,
                    allow_redirects=False,
                )
            except _NO_CONNECTION as error:
                # To the caller, a connection that is not made in time is like one that is refused.
                raise UpstreamError(target, "unreachable", cause_of(error, proxy)) from error
            except TimeoutError as error:
                raise UpstreamError(target, "timeout", cause_of(error, proxy)) from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # At once, this is most likely a kept connection that the server was closing. Later, it has worked on
                # the request, and once more would be paid twice.
                if not attempts or time.monotonic() - begun > _STALE_S:
                    raise UpstreamError(target, "broken", cause_of(error, proxy)) from error
            except (aiohttp.ClientError, ValueError) as error:
                raise UpstreamError(target, "broken", cause_of(error, proxy)) from error
            else:
                if response.status in _STATUSES:
                    return response
                response.close()
                raise UpstreamError(target, "broken", f"the status {response.status} is none of a final answer")


async def _first(response: aiohttp.ClientResponse, await_first_byte: bool) -> bytes:
    if response.content_length is not None and response.content_length <= _WHOLE_ANSWER_BYTES:
        return await response.read()
    if await_first_byte:
        return await response.content.readany()
    return b""


def _payload(request: UpstreamRequest) -> bytes | io.BytesIO | None:
    if not request.body:
        # Without a body, POST still says `content-length: 0`.
        return b"" if request.method in {"POST", "PUT", "PATCH"} else None
    if len(request.body) <= _BODY_PIECE_BYTES:
        return request.body
    return io.BytesIO(request.body)  # sent in pieces, so that a slow upstream does not make us buffer it again
