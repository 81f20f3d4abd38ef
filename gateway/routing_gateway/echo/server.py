"""Running the echo: in a thread for tests, or as a process."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from routing_client.targets import Address
from starlette.applications import Starlette

from routing_gateway.echo.app import DEFAULT_MODELS, EchoState, create_echo

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RunningEcho:
    """An echo that listens."""

    base_url: str
    """With `/v1` at its end, as OpenAI's SDK wants it."""
    state: EchoState


@contextmanager
def serve_echo(app: Starlette | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[RunningEcho]:
    """Serve an echo in a thread while the context lasts; open streams are cut at its end.

    Args:
        app: From `create_echo`. None: one that keeps the requests it gets.
        host: Where to listen.
        port: 0 takes a free one.
    """
    app = app or create_echo(keep_requests=True)
    server = uvicorn.Server(uvicorn_config(app))
    with listen(host, port) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="echo", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the echo did not start")
                time.sleep(0.002)
            yield RunningEcho(f"http://{Address(host, listening.getsockname()[1])}/v1", app.state.echo)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def uvicorn_config(app: Starlette) -> uvicorn.Config:
    """Quiet, and quick to stop: a stream that never ends must not keep the server from ending."""
    return uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=0)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that the port is known before the server runs.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


class _Announcing(uvicorn.Server):
    """Writes the bound address to a file as soon as requests are answered."""

    def __init__(self, config: uvicorn.Config, ready_file: Path | None, address: str) -> None:
        super().__init__(config)
        self._ready_file, self._address = ready_file, address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready_file is not None:
            temporary = self._ready_file.with_name(f".{self._ready_file.name}.tmp")
            temporary.write_text(f"{self._address}\n", encoding="utf-8")
            temporary.replace(self._ready_file)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m routing_gateway.echo`: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m routing_gateway.echo",
        description="An OpenAI-compatible server that calls no LLM: it answers with what it was told.",
        epilog="Example: python -m routing_gateway.echo --port 8000 --pace 0.05",
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="where to listen (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, metavar="P", help="0, the default, takes a free one")
    parser.add_argument("--ready-file", type=Path, metavar="F", help="file that gets the bound address once it answers")
    parser.add_argument("--model", action="append", metavar="M", help="a model to list; repeatable")
    parser.add_argument("--pace", type=float, default=0.0, metavar="S", help="seconds between two words of a stream")
    parser.add_argument("--fault", default="", metavar="F", help="for every request, such as status=429 or not-json")
    options = parser.parse_args(arguments)
    try:
        app = create_echo(options.model or DEFAULT_MODELS, pace=options.pace, fault=options.fault)
        listening = listen(options.host, options.port)
    except (ValueError, OverflowError, OSError) as error:
        parser.error(str(error))
    # uvicorn raises the signal that stopped it anew, which by default would end the process as if it had failed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listening, suppress(KeyboardInterrupt):
        address = str(Address(options.host, listening.getsockname()[1]))
        print(f"echo at http://{address}/v1", flush=True)
        _Announcing(uvicorn_config(app), options.ready_file, address).run([listening])
    return 0
