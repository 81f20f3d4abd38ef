"""Processes that are killed, stopped or hung up at the wrong moment, and workers that are not there yet."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.gated_router import CONFIG, Gate, gate
from tests.support.goaway_peer import goaway_peer
from tests.support.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from tests.support.services import ServiceProcess, StartService

__all__ = ["gate"]

# A delay that no test waits for: who ends during it was ended.
LONG_DRAIN = "\nserver: {shutdown: {delay_seconds: 3600}}"


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("not here: this system does not list a process's children")
    return [int(child) for child in found.read_text().split()]


def all_end(processes: Iterable[int]) -> None:
    eventually(lambda: not any(map(is_running, processes)), "all processes end")


def is_refused(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0


def answers(address: str) -> bool:
    """Whether a connection of its own brings an answer."""
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi", threshold=0))
        return bool(call.decision.model)


def events(service: ServiceProcess) -> list[str]:
    return [json.loads(line)["event"] for line in service.log.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("how", ["at once", "in Python", "in C"])
def test_workers_that_still_start_do_not_outlive_their_supervisor(
    start_service: StartService, gate: Gate, port: int, how: str
) -> None:
    if how == "in C":
        gate.close_in_c()
    service = start_service("--workers", "2", "--address", f"127.0.0.1:{port}", config=CONFIG)
    if how == "at once":
        eventually(lambda: children(service.process.pid), "a worker is started")
        workers = children(service.process.pid)
    else:
        workers = gate.loading(2)
    service.process.kill()
    service.process.wait()
    all_end(workers)
    socket.create_server(("127.0.0.1", port)).close()


def test_workers_that_serve_end_soon_after_their_supervisor(start_service: StartService, port: int) -> None:
    service = start_service("--workers", "2", "--address", f"127.0.0.1:{port}", config=LONG_DRAIN)
    assert service.address
    workers = children(service.process.pid)
    service.process.kill()
    service.process.wait()
    all_end(workers)
    socket.create_server(("127.0.0.1", port)).close()


def test_nothing_is_accepted_before_it_can_be_answered(start_service: StartService, gate: Gate, port: int) -> None:
    service = start_service("--workers", "2", "--address", f"127.0.0.1:{port}", config=CONFIG)
    first = gate.loading(2)
    assert is_refused(port)
    second = start_service("--address", f"127.0.0.1:{port}")
    assert second.process.wait(PATIENCE_SECONDS) == 1, "the port is claimed already"
    assert "in use" in second.log
    gate.open()
    assert service.address
    gate.close()
    os.kill(first[0], signal.SIGKILL)
    gate.loading(3)
    assert all(answers(service.address) for _ in range(20)), "the kernel gives no connection to the one that loads"
    gate.open()
    assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_load_that_hangs_is_stopped(start_service: StartService, gate: Gate, workers: int, number: int) -> None:
    if workers > 1:
        gate.close_in_c()
    service = start_service("--workers", str(workers), config=CONFIG)
    processes = gate.loading(workers)
    assert service.stop(number) == 0
    all_end(processes)
    assert "serving" not in events(service)
    assert not service.ready_file.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_load_may_take_only_so_long(start_service: StartService, gate: Gate, workers: int) -> None:
    config = f"{CONFIG}\nserver: {{start_seconds: 1}}"
    service = start_service("--workers", str(workers), config=config)
    processes = gate.loading(workers)
    assert service.process.wait(PATIENCE_SECONDS) == 1
    assert "not loaded within 1 seconds (server.start_seconds)" in service.log
    assert "Traceback" not in service.log
    all_end(processes)


def test_a_router_that_hangs_does_not_hold_a_stop_up(start_service: StartService, gate: Gate) -> None:
    gate.open()
    service = start_service(config=f"{CONFIG}\nserver: {{shutdown: {{grace_seconds: 0.5}}}}")
    with grpc.insecure_channel(service.address) as channel:
        call = pb_grpc.RoutingServiceStub(channel).Decide.future(pb.DecideRequest(prompt="hang"))
        gate.scoring()
        assert service.stop() == 0
        assert call.exception(timeout=PATIENCE_SECONDS) is not None
    assert events(service)[-1] == "stopped"


@pytest.mark.parametrize(("workers", "second"), [(1, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_second_signal_ends_at_once(start_service: StartService, workers: int, second: int) -> None:
    service = start_service("--workers", str(workers), config=LONG_DRAIN)
    assert service.address
    processes = children(service.process.pid)
    service.process.terminate()
    eventually(lambda: events(service).count("draining") == workers, "all drain")
    for process in processes:  # as service managers do, which signal every process
        os.kill(process, signal.SIGTERM)
    assert answers(service.address)
    service.process.send_signal(second)
    assert service.process.wait(PATIENCE_SECONDS) == 128 + second
    all_end(processes)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hang_up_ends_nothing_even_where_it_was_ignored(start_service: StartService, workers: int) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        service = start_service("--workers", str(workers))
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert service.address
    processes = [service.process.pid, *children(service.process.pid)]
    for _ in range(2):
        for process in processes:
            os.kill(process, signal.SIGHUP)
        eventually(lambda: events(service).count("hang_up_ignored") == len(processes), "each says it once")
        assert answers(service.address)
    assert service.stop() == 0
    assert events(service).count("hang_up_ignored") == len(processes)


@pytest.mark.parametrize("command", [["health"], ["decide", "hi"]])
def test_a_peer_cannot_forge_lines_on_standard_error(command: list[str]) -> None:
    with goaway_peer() as address:
        words = [sys.executable, "-m", "routing_service", *command, "--address", address]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)
    assert ran.returncode == 1
    assert ran.stderr.startswith("routing-service: error: ")
    assert ran.stderr.count("\n") == 1, ran.stderr


def test_silent_callers_of_the_metrics_cost_no_threads_and_keep_nobody_out(start_service: StartService) -> None:
    service = start_service("--metrics-address", "127.0.0.1:0")
    assert service.address
    address = next(e["address"] for e in map(json.loads, service.log.splitlines()) if e["event"] == "metrics")
    host, _, port = address.rpartition(":")

    def threads() -> int:
        return len(list(Path(f"/proc/{service.process.pid}/task").iterdir()))

    def scrape() -> str:
        with closing(http.client.HTTPConnection(host, int(port), PATIENCE_SECONDS)) as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    assert "routing_call_seconds" in scrape()
    before = threads()
    with ExitStack() as silent:
        for _ in range(300):
            silent.enter_context(socket.create_connection((host, int(port)))).sendall(b"GET /met")
        assert "routing_call_seconds" in scrape()
        assert threads() <= before + 8  # gRPC's own come and go
    assert service.stop() == 0
    assert "Traceback" not in service.log
