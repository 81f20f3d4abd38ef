"""Starts a server on one core, waits until it serves, reads its memory, stops it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ECHO = ("-m", "benchmarks.echo_server")
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, and the seconds from the process's start to readiness."""

    address: str
    process: subprocess.Popen[bytes]
    start_s: float

    def resident_mb(self) -> float:
        """Resident memory now, in MB (10^6 bytes)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"process {self.process.pid} has no VmRSS")


def ours(config: Path | None) -> tuple[str, ...]:
    """Arguments of Python for our `serve`, with one worker."""
    return ("-m", "routing_service", "serve", "--address", "127.0.0.1:0", "--workers", "1") + (
        ("--config", str(config)) if config else ()
    )


@contextmanager
def running(arguments: Sequence[str], core: int, folder: Path, *, python: str = sys.executable) -> Iterator[Server]:
    """The server `python ARGUMENTS --ready-file F`, bound to one core from the start.

    Args:
        arguments: Python's arguments.
        core: the core's number.
        folder: gets the ready file and the server's log.
        python: which one.

    Raises:
        RuntimeError: it ended or did not become ready; the message ends with its log.
    """
    name = arguments[1].rpartition(".")[2]
    ready, log = folder / f"{name}.ready", folder / f"{name}.log"
    ready.unlink(missing_ok=True)
    command = ["taskset", "--cpu-list", str(core), python, *arguments, "--ready-file", str(ready)]
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while not ready.exists():
            if process.poll() is not None or time.perf_counter() - started > START_LIMIT_S:
                raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.002)
        yield Server(ready.read_text().strip(), process, time.perf_counter() - started)
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
