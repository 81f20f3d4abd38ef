"""Several processes behind one port: the kernel spreads connections over them (SO_REUSEPORT), each uses one core."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog
from routing_client.targets import read_address

from routing_service.config import Config
from routing_service.errors import ServerError
from routing_service.server.listening import Claim
from routing_service.server.stopping import Stopping

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.05
# A worker that dies is replaced. If workers die again and again, a restart does not help.
_MAX_RESTARTS = 10
_RESTART_WINDOW_SECONDS = 60.0
# What a worker may take beyond the time that it is given: to start Python on a busy machine, and to end.
_START_MARGIN_SECONDS = 30.0
_STOP_MARGIN_SECONDS = 5.0


def serve_with_workers(
    config: Config, config_file: Path | None, on_ready: Callable[[str], None], stopping: Stopping
) -> None:
    """Run `config.server.workers` serving processes until the process is to stop, then drain them and return.

    `on_ready` is called with the bound address once every worker is SERVING. A worker that dies later is replaced.

    Raises:
        ServerError: the port is taken, a worker does not start, or workers keep dying.
    """
    with Claim(config.server.address) as claim:
        supervisor = _Supervisor(config, config_file, claim.address, stopping)
        stopping.begin(before_end=supervisor.kill)
        try:
            supervisor.start()
            if not stopping.is_asked:
                on_ready(claim.address)
                log.info("serving", address=claim.address, workers=config.server.workers)
            supervisor.watch()
        finally:
            supervisor.stop()
    log.info("stopped")


class _Worker:
    """A serving process. It ends when this process does, because it waits for the end of the socket between them."""

    def __init__(self, arguments: list[str], start_seconds: float) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        self._is_ready = False
        self._must_be_ready_at = time.monotonic() + start_seconds + _START_MARGIN_SECONDS
        command = [sys.executable, "-m", "routing_service.tether", "serve", "--workers", "1", "--worker", *arguments]
        self.process: subprocess.Popen[bytes]
        # SIGHUP is ignored until the worker handles it. A group of its own: Ctrl-C reaches only the supervisor, which
        # then drains the workers in order.
        hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self.process = subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=True)  # noqa: S603 - ours
        finally:
            signal.signal(signal.SIGHUP, hang_up)
            theirs.close()

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it is SERVING."""
        if not self._is_ready:
            with suppress(OSError):  # nothing yet, or it has died
                self._is_ready = bool(self._channel.recv(64))
        return self._is_ready

    @property
    def exit_code(self) -> int | None:
        """None while it runs. A worker that takes too long to start is killed, and has ended."""
        if not self.is_ready and time.monotonic() > self._must_be_ready_at and self.process.poll() is None:
            log.error("worker_not_ready", pid=self.process.pid, why="server.start_seconds have passed")
            self._kill()
        return self.process.poll()

    def terminate(self) -> None:
        """Let it finish its calls, if it has any. A load that hangs might not be interrupted otherwise."""
        if self.is_ready:
            self.process.terminate()
        else:
            self._kill()

    def wait(self, seconds: float) -> None:
        """Wait for its end, and make sure of it."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            log.error("worker_killed", pid=self.process.pid)
            self._kill()
        self._channel.close()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()


class _Supervisor:
    """Starts, watches, replaces and stops the workers."""

    def __init__(self, config: Config, config_file: Path | None, address: str, stopping: Stopping) -> None:
        self._config, self._config_file, self._address = config, config_file, address
        self._stopping = stopping
        self._workers: list[_Worker] = []
        self._restarts: list[float] = []

    def start(self) -> None:
        for index in range(self._config.server.workers):
            self._workers.append(self._spawn(index))
        while not self._stopping.is_asked and not all(worker.is_ready for worker in self._workers):
            if any(worker.exit_code is not None for worker in self._workers) and not self._stopping.is_asked:
                raise ServerError("a worker did not start; its message is above")
            self._pause()

    def watch(self) -> None:
        while not self._stopping.is_asked:
            for index, worker in enumerate(self._workers):
                code = worker.exit_code
                if code is not None and not self._stopping.is_asked:
                    self._replace(index, code)
            self._pause()

    def stop(self) -> None:
        for worker in self._workers:
            worker.terminate()
        shutdown = self._config.server.shutdown
        deadline = time.monotonic() + shutdown.delay_seconds + shutdown.grace_seconds + _STOP_MARGIN_SECONDS
        for worker in self._workers:
            worker.wait(deadline - time.monotonic())

    def kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()

    def _pause(self) -> None:
        self._stopping.log_hang_up()
        time.sleep(_POLL_SECONDS)

    def _replace(self, index: int, code: int) -> None:
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < _RESTART_WINDOW_SECONDS] + [now]
        log.error("worker_died", worker=index, exit_code=code, restarts=len(self._restarts))
        if len(self._restarts) > _MAX_RESTARTS:
            raise ServerError(f"workers died {len(self._restarts)} times in a minute; the log has their exit codes")
        self._workers[index].wait(0.0)
        self._workers[index] = self._spawn(index)

    def _spawn(self, index: int) -> _Worker:
        arguments = ["--address", self._address]
        if self._config_file is not None:
            arguments += ["--config", str(self._config_file)]
        if self._config.server.metrics_address is not None:
            where = read_address(self._config.server.metrics_address)
            arguments += ["--metrics-address", str(replace(where, port=where.port + index if where.port else 0))]
        return _Worker(arguments, self._config.server.start_seconds)
