"""A caller's connection: uvicorn's on httptools, with limits on what may come before a request is whole.

What has not been checked must cost little: the head of a request is bounded in size and time, and connections whose
request is not whole are bounded in number and bytes. When there are too many, those go that were silent longest;
whoever sends a request at once is never among them.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from routing_gateway.errors import GatewayError
from routing_gateway.logs import log

if TYPE_CHECKING:
    from routing_gateway.config import GatewayConfig

MAX_HEAD_BYTES = 1 << 16
"""Of a request's line and headers; as many again may be around the pieces of a chunked body."""
HEAD_TIMEOUT_S = 20.0
_MAX_CHUNK_OVERHEAD = 16
"""Bytes around each byte of a chunked body: a piece of one byte has five."""
_SMALL_BODY_BYTES = 1 << 16
"""Bodies of this size are bounded by their number alone."""
_MIN_WAITING = 256
_MIN_WAITING_BYTES = 256 << 20
_UNREAD_BYTES = 1 << 20
"""What may come after the answer of a request that is not whole, before the connection is closed."""
_LINGER_S = 2.0
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Waiting:
    """The connections whose request is not whole yet, those that were silent longest first.

    Args:
        max_connections: More are not kept.
        max_bytes: Of the parts of bodies that they have sent.
        max_body_bytes: Of one body; what comes beyond is not kept.
    """

    def __init__(self, max_connections: int, max_bytes: int, max_body_bytes: int) -> None:
        self._max_connections = max_connections
        self._max_bytes = max_bytes
        self._max_body_bytes = max_body_bytes
        self._held: dict[Connection, int] = {}
        self._bytes = 0

    def note(self, connection: Connection, size: int = 0) -> None:
        """A connection has begun to wait, or has sent something, of which so many bytes of a body."""
        held = self._held
        before = held.pop(connection, 0)
        held[connection] = now = min(before + size, self._max_body_bytes)
        self._bytes += now - before
        if len(held) > self._max_connections:
            self._close(next(iter(held)), "connections")
        while self._bytes > self._max_bytes:
            largest = next((each for each, size in held.items() if size > _SMALL_BODY_BYTES), None)
            if largest is None:
                break
            self._close(largest, "bytes of bodies")

    def leave(self, connection: Connection) -> None:
        """Its request is whole, or it is gone."""
        self._bytes -= self._held.pop(connection, 0)

    def _close(self, connection: Connection, what: str) -> None:
        log.warning("too many %s of requests that are not whole; what was silent longest is closed", what)
        self.leave(connection)
        connection.transport.abort()


class Connection(HttpToolsProtocol):
    """One connection. Made by uvicorn, by a subclass for each server that brings `waiting`."""

    waiting: Waiting

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._received = self._body = self._unread = 0
        """Bytes of the request that is not whole: all, those of its body; and of a body that nobody reads."""
        self._is_large = False
        """Whether one piece of data could hold a head that is too large."""
        self._is_replay = self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waiting.note(self)
        self._start_timer(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.leave(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._ignore(len(data))
            return
        self._unset_keepalive_if_required()
        self._received += len(data)
        self._is_large = len(data) > MAX_HEAD_BYTES
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(GatewayError(400, "this is no HTTP request that can be read", code="invalid_http"))
            return
        if not self._received or self.transport.is_closing():
            return
        if self._received - self._body > MAX_HEAD_BYTES + _MAX_CHUNK_OVERHEAD * self._body:
            self._refuse(_head_too_large())
            return
        self.waiting.note(self)
        if self._in_head and self._timer is None:
            self._start_timer(HEAD_TIMEOUT_S)

    def on_message_begin(self) -> None:
        if not self._is_replay:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_replay:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # others are trailers, which nobody asked for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_replay:
            return
        self._in_head = False
        self._stop_timer()
        if self._is_large and self._head_bytes() > MAX_HEAD_BYTES:
            self._refuse(_head_too_large())
            raise ValueError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        if self.cycle.response_complete:
            self._ignore(len(body))
            return
        self.waiting.note(self, len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # what follows the head is its body, and not another protocol
        self._in_head = True
        self._received = self._body = self._unread = 0
        self.waiting.leave(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self.pipeline:
            self.waiting.note(self)

    def send_400_response(self, msg: str) -> None:
        self._refuse(GatewayError(400, msg, code="invalid_http"))

    def _feed(self, data: bytes) -> None:
        """Parse, and stay with HTTP/1.1 where another protocol is offered.

        A client of Java offers HTTP/2 with every plain request. The parser then takes what follows the head for that,
        and not for the body that it is. So another one is told of the body's length again, and goes on.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                framing = b"".join(b"%b: %b\r\n" % each for each in self.headers if each[0] in _FRAMING)
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self._is_replay = True
                self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
                self._is_replay = False
                if not data:
                    return
            else:
                return

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _ignore(self, size: int) -> None:
        self._unread += size
        if self._unread > _UNREAD_BYTES:
            self.transport.close()

    def _refuse(self, error: GatewayError) -> None:
        """Answer what is no request, and close when the caller has had time to read it."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        response = error.response()
        phrase = HTTPStatus(error.status).phrase.encode()
        head = [b"HTTP/1.1 %d %b" % (error.status, phrase), *(b"%b: %b" % each for each in response.raw_headers)]
        self.transport.write(b"\r\n".join([*head, b"connection: close", b"", bytes(response.body)]))
        self.transport.write_eof()
        # Closing at once, while something is still to be read, would throw the answer away.
        self._start_timer(_LINGER_S)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def connection_class(config: GatewayConfig) -> type[Connection]:
    """The class of one server's connections."""
    max_connections = max(_MIN_WAITING, config.max_concurrent)
    max_bytes = max(_MIN_WAITING_BYTES, 4 * config.max_body_bytes)

    class Limited(Connection):
        waiting = Waiting(max_connections, max_bytes, config.max_body_bytes)

    return Limited


def _head_too_large() -> GatewayError:
    message = f"the request's line and headers are larger than {MAX_HEAD_BYTES} bytes"
    return GatewayError(431, message, code="headers_too_large")
