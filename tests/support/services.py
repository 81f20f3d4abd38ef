"""Services to test against: the real command as a process, or an engine of the test's own behind a real channel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from routing_service.config import LimitsConfig
from routing_service.engine.engine import Engine
from routing_service.observability.metrics import Metrics
from routing_service.server.service import RoutingService
from tests.support.waiting import PATIENCE_SECONDS, address_in


class ServiceProcess:
    """`routing-service serve` as a user starts it."""

    def __init__(self, folder: Path, arguments: list[str], config: str | None = None) -> None:
        self.ready_file, self.log_file = folder / "ready", folder / "log"
        command = [sys.executable, "-m", "routing_service", "serve", "--address", "127.0.0.1:0"]
        command += ["--ready-file", str(self.ready_file), *arguments]
        if config is not None:
            (folder / "routing.yaml").write_text(config)
            command += ["--config", str(folder / "routing.yaml")]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=os.environ)

    @property
    def address(self) -> str:
        """The bound address, once the service is SERVING."""
        return address_in(self.ready_file, self.process, self.log_file)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the service and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()


StartService = Callable[..., ServiceProcess]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start services, with arguments and YAML text; they are stopped when the test ends."""
    started: list[ServiceProcess] = []

    def start(*arguments: str, config: str | None = None) -> ServiceProcess:
        folder = tmp_path / f"service-{len(started)}"
        folder.mkdir()
        started.append(ServiceProcess(folder, list(arguments), config))
        return started[-1]

    yield start
    for service in started:
        service.stop()


SERVICE_CONFIG = Path(__file__).parents[1] / "golden" / "routing.yaml"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service with two routers and two policies, for all tests that change nothing about it."""
    process = ServiceProcess(tmp_path_factory.mktemp("service"), [], SERVICE_CONFIG.read_text())
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="session")
def channel(service: ServiceProcess) -> Iterator[grpc.Channel]:
    """A channel to `service`."""
    with grpc.insecure_channel(service.address, [("grpc.max_receive_message_length", -1)]) as channel:
        yield channel


@pytest.fixture
def serve_engine() -> Callable[[Engine], contextlib.AbstractAsyncContextManager[grpc.aio.Channel]]:
    """Serve an engine of the test's own in this process; gives a channel to it."""

    @contextlib.asynccontextmanager
    async def serve(engine: Engine | None, limits: LimitsConfig | None = None) -> AsyncIterator[grpc.aio.Channel]:
        routing = RoutingService(limits or LimitsConfig(), Metrics())
        routing.use(engine)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(routing.handlers())
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield channel
        finally:
            await server.stop(None)

    return serve
