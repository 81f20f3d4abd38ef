"""The metrics over HTTP, from the event loop: bounded in connections, bytes and time, whoever connects.

prometheus_client has such a server too, with a thread for each connection, however many come and however long they
stay. The answers are that library's here as well: every path, the formats that `Accept` names, gzip.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from routing_service.observability.logging import exception_summary

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 128
"""For one more, the one that was opened first is closed. Whoever sends its request at once is answered before that."""
MAX_HEAD_BYTES = 16 * 1024
"""Of a request's line and headers. What follows them is not read."""
EXCHANGE_SECONDS = 10.0
"""From a connection's begin to its end."""
_END_OF_HEAD = b"\r\n\r\n"


class MetricsServer:
    """Answers each connection once and closes it.

    Args:
        registry: the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._app: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}  # the first is the oldest

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the bound port.

        Raises:
            OSError: the address cannot be bound.
        """
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server((host, target[1]), family=family, backlog=MAX_CONNECTIONS)
        self._server = await asyncio.start_server(self._exchange, sock=listener, limit=MAX_HEAD_BYTES)
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        """Stop listening, and drop what is open."""
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(self._open)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._open[task] = writer
        if len(self._open) > MAX_CONNECTIONS:
            self._open.pop(next(iter(self._open))).transport.abort()
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                writer.write(self._answer(await _head(reader)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._open.pop(task, None)

    def _answer(self, head: bytes | None) -> bytes:
        if head is None:
            return _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        try:
            environ = _environ(head)
        except (ValueError, HTTPException):
            return _refusal(HTTPStatus.BAD_REQUEST)
        said: list[Any] = []  # status and headers
        try:
            body = b"".join(self._app(environ, lambda *arguments: said.extend(arguments)))
        except Exception as error:
            log.error("metrics_failed", raised=exception_summary(error))
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(said[0], said[1], body)


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    """A request's line and headers; None when they are too large."""
    try:
        return await reader.readuntil(_END_OF_HEAD)
    except asyncio.LimitOverrunError:
        return None


def _environ(head: bytes) -> dict[str, str]:
    """A request as WSGI has it, as far as prometheus_client looks at it.

    Raises:
        ValueError, HTTPException: it is none.
    """
    line, _, rest = head.partition(b"\r\n")
    method, target, version = line.decode("latin-1").split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError
    path, _, query = target.partition("?")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    for name, value in parse_headers(io.BytesIO(rest)).items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ


def _refusal(status: HTTPStatus) -> bytes:
    return _response(f"{status.value} {status.phrase}", [], b"")


def _response(status: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    all_headers = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in all_headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
