"""Starting, stopping, logging: `routing-service serve` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from tests.support.services import StartService


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that is expected to end by itself."""
    command = [sys.executable, "-m", "routing_service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The error of a command that failed: one line, exit code 1, no traceback."""
    assert result.returncode == 1
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]  # logs are JSON
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("routing-service: error: ")
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(start_service: StartService, number: int) -> None:
    service = start_service()
    with grpc.insecure_channel(service.address) as channel:
        pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi"))
    assert service.stop(number) == 0
    events = [json.loads(line)["event"] for line in service.log.splitlines()]
    assert events == ["serving", "draining", "stopped"]


def test_health_turns_before_the_port_closes(start_service: StartService) -> None:
    service = start_service(config="server: {shutdown: {delay_seconds: 3.0}}")
    with grpc.insecure_channel(service.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stopper = threading.Thread(target=service.stop)
        stopper.start()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        # Load balancers need time to notice: calls are still answered.
        assert pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi")).decision.model
        watch.cancel()
        stopper.join()


def test_calls_in_flight_finish(start_service: StartService) -> None:
    service = start_service()
    with grpc.insecure_channel(service.address) as channel:
        text = "How many ways are there to tile a 3 by 8 board with dominoes? " * 8
        batch = pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=text)] * 1000)
        call = pb_grpc.RoutingServiceStub(channel).BatchDecide.future(batch)
        _wait_for_traffic(service.address)
        service.process.send_signal(signal.SIGTERM)
        assert len(call.result(timeout=PATIENCE_SECONDS).results) == 1000
    assert service.process.wait(PATIENCE_SECONDS) == 0


def _wait_for_traffic(address: str) -> None:
    """Returns when a call made after the batch was answered, so the batch has reached the server."""
    with grpc.insecure_channel(address) as channel:
        pb_grpc.RoutingServiceStub(channel).ListRouters(pb.ListRoutersRequest())


def test_a_second_service_on_the_same_port_is_refused(start_service: StartService) -> None:
    service = start_service()
    assert "in use" in one_line(run("serve", "--address", service.address))
    with grpc.insecure_channel(service.address) as channel:
        assert pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi")).decision.model


def test_several_workers_share_a_port_and_a_dead_one_is_replaced(start_service: StartService) -> None:
    service = start_service("--workers", "2")
    address = service.address
    children = _children(service.process.pid)
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    eventually(lambda: len(set(_children(service.process.pid)) - {children[0]}) == 2, "the dead worker is replaced")
    now = set(_children(service.process.pid))
    for _ in range(8):  # a new connection each: the kernel picks a worker
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            answer = pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi"), wait_for_ready=True)
            assert answer.decision.model
    assert service.stop() == 0
    assert not any(Path(f"/proc/{child}").exists() for child in now)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("not here: this system does not list a process's children")
    return [int(child) for child in found.read_text().split()]


def test_workers_stop_when_their_supervisor_is_killed(start_service: StartService) -> None:
    service = start_service("--workers", "2")
    assert service.address
    workers = _children(service.process.pid)
    service.process.kill()
    service.process.wait()
    eventually(lambda: not any(map(_is_running, workers)), "the workers stop")


def _is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_ready_file_that_cannot_be_written_stops_the_workers(tmp_path: Path) -> None:
    ready = str(tmp_path / "no" / "f")
    assert "--ready-file" in one_line(run("serve", "--address", "127.0.0.1:0", "--workers", "2", "--ready-file", ready))


def test_a_burst_is_answered_whole(start_service: StartService) -> None:
    service = start_service()
    with grpc.insecure_channel(service.address) as channel:
        decide = pb_grpc.RoutingServiceStub(channel).Decide
        calls = [decide.future(pb.DecideRequest(prompt=f"What is {n} squared?")) for n in range(4000)]
        assert all(call.result(timeout=PATIENCE_SECONDS).decision.model for call in calls)
