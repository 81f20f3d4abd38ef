"""A gateway on a real port, between a fake decision service and an upstream: the echo, or a script."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from routing_client.endpoints import Endpoint, Endpoints
from routing_client.testing import FakeService, fake_server
from routing_gateway.app import create_app
from routing_gateway.config import GatewayConfig
from routing_gateway.echo import Counters, RunningEcho, serve_echo
from routing_gateway.server import GatewayServer, uvicorn_config

from tests.support.cli import config, run

from .scripted import ScriptedUpstream

__all__ = ["config", "run"]  # the service's command line, for `chat`

LIMIT_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def cheap_clients(no_authorities: Path) -> None:
    """The HTTP clients of tests and gateways read no authorities; nearly all servers here are plain."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another thread or process brings about."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_S:g} s: {what}"
        time.sleep(0.005)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[[Callable[[], bool], str], None]:
    return eventually


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error, whose format is checked."""
        shown = self.json()
        assert set(shown) == {"error"}
        assert set(shown["error"]) == {"message", "type", "param", "code"}
        assert isinstance(shown["error"]["message"], str)
        error: dict[str, Any] = shown["error"]
        return error


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    address: str
    state: Any
    """What it keeps, a `State`; None for one in another process."""
    loop: Any
    """Its event loop; None likewise."""

    @property
    def base_url(self) -> str:
        return f"http://{self.address}/v1"

    def request(
        self, method: str, path: str, body: bytes | Any = None, headers: dict[str, str] | None = None
    ) -> HttpResponse:
        """One request on a connection of its own. A body that is no bytes is sent as JSON."""
        sent = {"content-type": "application/json"} if body is not None else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=LIMIT_S)
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return HttpResponse(
                answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def chat(self, model: str = "router-fake-0.5", text: str = "hello", **fields: Any) -> HttpResponse:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.request("POST", "/v1/chat/completions", body)

    def connect(self, body: Any, headers: str = "") -> socket.socket:
        """A connection on which a chat completion has been asked for."""
        data = json.dumps(body).encode()
        host, port = self.address.split(":")
        connection = socket.create_connection((host, int(port)), timeout=LIMIT_S)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.address}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}{headers}content-length: {len(data)}\r\n\r\n".encode() + data)
        return connection


class _Server(GatewayServer):
    """Stops when it is told to, and not at the next tick of uvicorn's clock."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self._told.wait()

    def tell(self) -> None:
        self.loop.call_soon_threadsafe(self._told.set)


@contextmanager
def serve_gateway(config: GatewayConfig) -> Iterator[Gateway]:
    app = create_app(config)
    ready = threading.Event()
    server = _Server(uvicorn_config(app, config, 0), ready.set)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            assert ready.wait(LIMIT_S)
            yield Gateway(f"127.0.0.1:{listener.getsockname()[1]}", app.state.gateway, server.loop)
        finally:
            server.tell()
            thread.join(LIMIT_S)


@pytest.fixture
def fake() -> FakeService:
    """Prompts with `hard` in them go to the strong model, all others to the weak one."""
    return FakeService({"hard": 0.9}, default=0.1, models=("big", "small"), policies={"cheap": 0.95})


@pytest.fixture
def fake_address(fake: FakeService) -> Iterator[str]:
    with fake_server(fake) as address:
        yield address


@pytest.fixture(scope="session")
def shared_echo() -> Iterator[RunningEcho]:
    with serve_echo() as running:
        yield running


@pytest.fixture
def echo(shared_echo: RunningEcho) -> RunningEcho:
    """As if it had just been started."""
    shared_echo.state.counters = Counters()
    shared_echo.state.requests.clear()
    shared_echo.state.fault = ""
    return shared_echo


MakeGateway = Callable[..., Gateway]


@pytest.fixture
def make_gateway(fake_address: str, echo: RunningEcho) -> Iterator[MakeGateway]:
    """Makes gateways in front of the echo. Arguments are those of `Endpoints` and, by its names, `GatewayConfig`."""
    with ExitStack() as stack:

        def make(limits: dict[str, Any] | None = None, **changes: Any) -> Gateway:
            endpoint = Endpoint(echo.base_url)
            fields = {"models": {"big": endpoint, "small": endpoint}, "default": endpoint, "service": fake_address}
            config = GatewayConfig(Endpoints(**{**fields, **changes}), **(limits or {}))
            return stack.enter_context(serve_gateway(config))

        yield make


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    return make_gateway()


@pytest.fixture
def scripted() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        threading.Thread(target=upstream.serve, args=(listener,), daemon=True).start()
        yield upstream
        listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread


@pytest.fixture
def scripted_gateway(make_gateway: MakeGateway, scripted: ScriptedUpstream) -> Gateway:
    """A gateway whose every model is at the scripted upstream."""
    endpoint = Endpoint(scripted.base_url)
    return make_gateway(models={"big": endpoint, "small": endpoint}, default=endpoint)


@dataclass(frozen=True)
class GatewayProcess(Gateway):
    """`routing-gateway` as a user starts it."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def resident_kb(self) -> int:
        """Its resident memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    @property
    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def metric(self, line: str) -> float:
        """The value of the series that is written so."""
        for each in self.request("GET", "/metrics").body.decode().splitlines():
            name, _, value = each.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0


StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Starts `routing-gateway` with these arguments, waits until it accepts, and stops it after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> GatewayProcess:
        ready, log = tmp_path / f"ready-{len(running)}", tmp_path / f"log-{len(running)}"
        command = [sys.executable, "-m", "routing_gateway.cli.gateway", "--port", "0", "--ready-file", str(ready)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *arguments], stdout=output, stderr=output, env={**os.environ, **(environment or {})}
            )
        running.append(process)
        eventually(lambda: ready.exists() or process.poll() is not None, "the gateway accepts")
        assert ready.exists(), log.read_text()
        return GatewayProcess(ready.read_text().strip(), None, None, process, log)

    yield start
    for process in running:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
