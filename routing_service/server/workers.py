"""Several processes behind one port: the kernel spreads connections over them (SO_REUSEPORT), each uses one core."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

import structlog

from routing_service.config import Config, split_address
from routing_service.errors import ServerError
from routing_service.server.app import check_free, write_atomically

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.05
# A worker that dies is replaced. If workers die again and again, a restart does not help.
_MAX_RESTARTS = 10
_RESTART_WINDOW_SECONDS = 60.0


def serve_with_workers(config: Config, config_file: Path | None, ready_file: Path | None) -> None:
    """Run `config.server.workers` serving processes until SIGTERM or SIGINT, then drain them and return.

    `ready_file` gets the bound address once every worker is SERVING. A worker that dies later is replaced.

    Raises:
        ServerError: the port is taken, a worker does not start, or workers keep dying.
    """
    host, port = split_address(config.server.address)
    if port:
        check_free(config.server.address)
    with _reserve(host, port) as reserved, tempfile.TemporaryDirectory(prefix="routing-service-") as folder:
        bound = reserved.getsockname()[1]
        address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        supervisor = _Supervisor(config, config_file, address, Path(folder))
        try:
            supervisor.start()
            if not supervisor.stopping:
                if ready_file is not None:
                    write_atomically(ready_file, f"{address}\n")
                log.info("serving", address=address, workers=config.server.workers)
            supervisor.watch()
        finally:
            supervisor.stop(config.server.shutdown.delay_seconds + config.server.shutdown.grace_seconds)
    log.info("stopped")


def _reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the port for the workers without listening on it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise ServerError(f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}") from error
    return reserved


class _Supervisor:
    """Starts, watches, replaces and stops the workers."""

    def __init__(self, config: Config, config_file: Path | None, address: str, folder: Path) -> None:
        self._config, self._config_file, self._address, self._folder = config, config_file, address, folder
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._restarts: list[float] = []
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def start(self) -> None:
        for index in range(self._config.server.workers):
            self._spawn(index)
        while not self.stopping and not all(self._ready_file(index).exists() for index in self._workers):
            for worker in self._workers.values():
                if worker.poll() is not None:
                    raise ServerError("a worker did not start; its message is above")
            time.sleep(_POLL_SECONDS)

    def watch(self) -> None:
        while not self.stopping:
            for index, worker in list(self._workers.items()):
                if worker.poll() is not None and not self.stopping:
                    self._replace(index, worker.returncode)
            time.sleep(_POLL_SECONDS)

    def stop(self, seconds: float) -> None:
        for worker in self._workers.values():
            worker.terminate()
        deadline = time.monotonic() + seconds + 5.0
        for worker in self._workers.values():
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker_killed", pid=worker.pid)
                worker.kill()
                worker.wait()

    def _replace(self, index: int, code: int) -> None:
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < _RESTART_WINDOW_SECONDS] + [now]
        log.error("worker_died", worker=index, exit_code=code, restarts=len(self._restarts))
        if len(self._restarts) > _MAX_RESTARTS:
            raise ServerError(f"workers died {len(self._restarts)} times in a minute; the log has their exit codes")
        self._spawn(index)

    def _spawn(self, index: int) -> None:
        ready = self._ready_file(index)
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "routing_service", "serve", "--workers", "1", "--reuse-port"]
        command += ["--address", self._address, "--ready-file", str(ready)]
        if self._config_file is not None:
            command += ["--config", str(self._config_file)]
        if self._config.server.metrics_address is not None:
            host, port = self._config.server.metrics_address.rsplit(":", 1)
            command += ["--metrics-address", f"{host}:{int(port) + index if int(port) else 0}"]
        # Its own process group: Ctrl-C reaches only the supervisor, which then drains the workers in order.
        self._workers[index] = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours

    def _ready_file(self, index: int) -> Path:
        return self._folder / f"ready-{index}"
