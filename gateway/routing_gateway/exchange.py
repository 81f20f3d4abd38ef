"""One HTTP exchange with a caller, straight on ASGI: read the body, answer, notice that the caller has gone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from routing_gateway.errors import GatewayError
from routing_gateway.headers import header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from routing_gateway.headers import RawHeaders

_BODY_TIMEOUT_S = 120.0
# A client that sends more than the limit reads our answer only when it has sent all: so much is read and thrown away.
_DISCARDED_BYTES = 256 << 20


class CallerGoneError(Exception):
    """The caller has closed the connection. There is nobody to answer."""


class Exchange:
    """A request and its answer.

    Args:
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.raw_path: str = (scope.get("raw_path") or self.path.encode()).decode("latin-1")
        self.headers: RawHeaders = scope["headers"]
        self.started = False
        self.finished = False
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send

    async def read_body(self, limit: int) -> bytes:
        """The whole request body.

        Raises:
            GatewayError: 413 beyond `limit` bytes, 408 when it does not arrive.
            CallerGoneError: The caller left in the middle.
        """
        length = header(self.headers, b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            await self._discard()
            raise _too_large(limit)
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while more:
                    message = await self._next()
                    more = message.get("more_body", False)
                    pieces.append(_body(message))
                    size += len(pieces[-1])
                    if size > limit:
                        pieces.clear()
                        if more:
                            await self._discard()
                        raise _too_large(limit)
        except TimeoutError:
            raise GatewayError(408, "the request body did not arrive in time", code="request_timeout") from None
        return b"".join(pieces)

    @asynccontextmanager
    async def cancelled_when_gone(self) -> AsyncIterator[None]:
        """While the context lasts, the caller's leaving cancels what runs in it. Enter it after `read_body`.

        Raises:
            CallerGoneError: The caller has left.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("this must run in a task")
        left, over = False, False

        async def watch() -> None:
            nonlocal left
            while (await self._receive())["type"] != "http.disconnect":
                pass
            if not over:
                left = True
                task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if left and task.uncancel() == 0:
                raise CallerGoneError from None
            raise
        finally:
            over = True
            watcher.cancel()

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Send the status and the headers."""
        self.started, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body. Waits while the caller is slow to read."""
        self.finished = last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def fail(self, error: GatewayError) -> None:
        """Send an error of the gateway's own."""
        self.started = self.finished = True
        self.status = error.status
        await error.response()(self._scope, self._receive, self._send)

    async def _next(self) -> Any:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CallerGoneError
        return message

    async def _discard(self) -> None:
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while size < _DISCARDED_BYTES:
                    message = await self._next()
                    size += len(_body(message))
                    if not message.get("more_body", False):
                        return


def _body(message: Any) -> bytes:
    data: bytes = message.get("body", b"")
    return data


def _too_large(limit: int) -> GatewayError:
    return GatewayError(413, f"the request body is larger than {limit} bytes", code="request_too_large")
