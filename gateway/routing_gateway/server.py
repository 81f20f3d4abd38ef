"""Serving the gateway on uvicorn until SIGTERM, which lets requests in flight finish."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from routing_client.targets import Address

from routing_gateway.app import create_app
from routing_gateway.connection import connection_class
from routing_gateway.logs import ServerNoise, log

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from starlette.types import ASGIApp

    from routing_gateway.config import GatewayConfig

DEFAULT_SHUTDOWN_TIMEOUT_S = 30
_BACKLOG = 2048
# Longer than the pools of usual clients keep an idle connection, so that they do not send into one that is closing.
_KEEP_ALIVE_S = 75
# A connection here and one upstream for each request in flight, as many that wait for a request, and some for the rest.
_FILES_A_REQUEST, _OTHER_FILES = 3, 64


class GatewayServer(uvicorn.Server):
    """A uvicorn server that tells when it accepts connections.

    The first SIGTERM or SIGINT lets requests in flight finish, and another ends the process at once.
    """

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], on_stop: Callable[[], None] | None = None
    ) -> None:
        super().__init__(config)
        self._on_ready, self._on_stop = on_ready, on_stop
        self._hung_up = self._hang_up_logged = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, or end."""
        if self.should_exit:
            # What uvicorn would still wait for may never come: a connection's end, a thread that asks a name server.
            os._exit(128 + sig)
        if self._on_stop is not None:
            self._on_stop()
        super().handle_exit(sig, frame)

    def handle_hang_up(self, _number: int, _frame: FrameType | None) -> None:
        """Note a SIGHUP, which changes nothing. To log from here could interrupt a line half-way."""
        self._hung_up = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._hung_up and not self._hang_up_logged:
            self._hang_up_logged = True
            log.warning("SIGHUP changes nothing; to read a new configuration, restart the gateway")
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def serve(
    config: GatewayConfig,
    host: str,
    port: int,
    *,
    ready_file: Path | None = None,
    on_ready: Callable[[str], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    look_at_service: bool = True,
    shutdown_timeout_s: int = DEFAULT_SHUTDOWN_TIMEOUT_S,
) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP ends nothing, from here on.

    Args:
        config: What to serve.
        host: Where to listen.
        port: 0 is any free one.
        ready_file: Appears with the bound `host:port` as its one line when requests are answered.
        on_ready: Called with the same.
        on_stop: Called, by a signal's handler, when the first SIGTERM or SIGINT has come.
        look_at_service: Say in the log when the decision service is not serving at the start.
        shutdown_timeout_s: How long requests in flight may take to finish; those that are left are then cut off.

    Raises:
        OSError: It cannot listen there; or, with a `filename`, `ready_file` cannot be written.
    """
    if ready_file is not None:
        _check_writable(ready_file)
    _allow_files(config.max_concurrent)
    with _bind(host, port) as listener:
        address = str(Address(*listener.getsockname()[:2]))

        app = create_app(config)

        def ready() -> None:
            if look_at_service:
                app.state.gateway.look_at_service()
            if ready_file is not None:
                _write(ready_file, f"{address}\n")
            if on_ready is not None:
                on_ready(address)

        server = GatewayServer(uvicorn_config(app, config, shutdown_timeout_s), ready, on_stop)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, server.handle_hang_up)
        server.run([listener])


def uvicorn_config(
    app: ASGIApp, config: GatewayConfig, shutdown_timeout_s: int = DEFAULT_SHUTDOWN_TIMEOUT_S
) -> uvicorn.Config:
    """How the gateway is served, whoever runs the server."""
    noise = logging.getLogger("uvicorn.error")
    if not any(isinstance(each, ServerNoise) for each in noise.filters):
        noise.addFilter(ServerNoise())
    return uvicorn.Config(
        app,
        http=connection_class(config),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=shutdown_timeout_s,
    )


def _check_writable(path: Path) -> None:
    """So that a mistake shows before anything is served. An older file of that name is of a gateway that is gone."""
    path.unlink(missing_ok=True)
    temporary = _temporary(path)
    temporary.touch()
    temporary.unlink()


def _write(path: Path, text: str) -> None:
    """Write it whole or not at all: whoever waits for the file must not read half of it."""
    temporary = _temporary(path)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server((host, address[1]), family=family, backlog=_BACKLOG)


def _allow_files(max_concurrent: int) -> None:
    """Raise this process's limit of open files, often 1024, to what the requests in flight may need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_A_REQUEST * max_concurrent + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("%d open files are allowed; %d requests in flight may need %d", allowed, max_concurrent, wanted)
