"""Starting, stopping, logging: `routing-service serve` as a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from routing_service.artifacts.loading import DEFAULT_ARTIFACT

if TYPE_CHECKING:
    from tests.support.services import StartService

SECRET = "swordfish-in-a-prompt"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that is expected to end by itself."""
    command = [sys.executable, "-m", "routing_service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The error of a command that failed: one line, exit code 1, no traceback."""
    assert result.returncode == 1
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]  # logs are JSON
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("routing-service: error: ")
    return lines[0]


def serve_briefly(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("serve", "--address", "127.0.0.1:0", *arguments)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(start_service: StartService, number: int) -> None:
    service = start_service()
    with grpc.insecure_channel(service.address) as channel:
        pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi"))
    assert service.stop(number) == 0
    events = [json.loads(line)["event"] for line in service.log.splitlines()]
    assert events == ["serving", "draining", "stopped"]


def test_health_turns_before_the_port_closes(start_service: StartService) -> None:
    service = start_service(config="server: {shutdown: {delay_seconds: 1.0}}")
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
        assert len(call.result(timeout=20).results) == 1000
    assert service.stop() == 0


def _wait_for_traffic(address: str) -> None:
    """Returns when a call made after the batch was answered, so the batch has reached the server."""
    with grpc.insecure_channel(address) as channel:
        pb_grpc.RoutingServiceStub(channel).ListRouters(pb.ListRoutersRequest())


def test_logs_never_hold_a_prompt(start_service: StartService) -> None:
    service = start_service(config="observability: {log_level: debug}")
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        stub.Decide(pb.DecideRequest(prompt=SECRET))
        for bad in ({"prompt": SECRET, "threshold": 2}, {"prompt": SECRET, "router": "none"}):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Decide(pb.DecideRequest(**bad))
            assert SECRET not in str(caught.value.trailing_metadata())
        raw = channel.unary_unary("/llmrouting.v1.RoutingService/Decide", None, None)
        with pytest.raises(grpc.RpcError):
            raw(SECRET.encode())
    assert service.stop() == 0
    assert SECRET not in service.log


def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_line(run("serve", "--address", f"127.0.0.1:{port}"))
        assert f"127.0.0.1:{port}" in line
        assert "in use" in line
        line = one_line(run("serve", "--address", f"127.0.0.1:{port}", "--workers", "2"))
        assert "in use" in line
        line = one_line(serve_briefly("--metrics-address", f"127.0.0.1:{port}"))
        assert "--metrics-address" in line


def test_a_second_service_on_the_same_port_is_refused(start_service: StartService) -> None:
    service = start_service()
    assert "in use" in one_line(run("serve", "--address", service.address))
    with grpc.insecure_channel(service.address) as channel:
        assert pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="hi")).decision.model


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A copy of the artifact that ships, for spoiling."""
    return Path(shutil.copytree(DEFAULT_ARTIFACT, tmp_path / "artifact"))


def config_for(artifact: Path) -> str:
    path = artifact.parent / "routing.yaml"
    path.write_text(f"routers: {{static: {{type: static, artifact: {artifact.name}}}}}")
    return str(path)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_a_spoilt_artifact_is_refused_by_file(artifact: Path, name: str) -> None:
    path = artifact / name
    original = path.read_bytes()
    spoilt = {
        "missing": None,
        "cut": original[:-100],
        "one bit": bytes([*original[:-50], original[-50] ^ 1, *original[-49:]]),
        "empty": b"",
    }
    for how, content in spoilt.items():
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        line = one_line(serve_briefly("--config", config_for(artifact)))
        assert str(path) in line, how


def test_an_edited_manifest_is_refused(artifact: Path) -> None:
    path = artifact / "manifest.json"
    path.write_text(path.read_text().replace("mixtral", "mistral", 1))
    line = one_line(serve_briefly("--config", config_for(artifact)))
    assert str(path) in line
    assert "edited" in line


def test_a_missing_artifact_folder_is_said(tmp_path: Path) -> None:
    assert "manifest.json" in one_line(serve_briefly("--config", config_for(tmp_path / "nothing")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("servre: {}", "did you mean 'server'"),
        ("server: {adress: 'x:1'}", "did you mean 'address'"),
        ("routers: {static: {type: sttic}}", "did you mean 'static'"),
        ("routers: {static: {type: static, artefact: x}}", "did you mean 'artifact'"),
        ("a: ]", "not valid YAML"),
        ("policies: {cheap: {threshold: 1.5}}", "from 0 to 1"),
    ],
)
def test_a_wrong_configuration_is_said_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(f"# a comment, so that the fault is on line 2\n{text}\n")
    for result in (serve_briefly("--config", str(path)), run("check-config", str(path))):
        line = one_line(result)
        assert f"{path}:2: " in line
        assert says in line


def test_several_workers_share_a_port_and_a_dead_one_is_replaced(start_service: StartService) -> None:
    service = start_service("--workers", "2")
    address = service.address
    children = _children(service.process.pid)
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while len(now := set(_children(service.process.pid)) - {children[0]}) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(now) == 2
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


def test_metrics_are_served(start_service: StartService) -> None:
    service = start_service("--metrics-address", "127.0.0.1:0")
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        for _ in range(3):
            stub.Decide(pb.DecideRequest(prompt="hi", threshold=0))
        with pytest.raises(grpc.RpcError):
            stub.Decide(pb.DecideRequest())
    address = next(e["address"] for e in map(json.loads, service.log.splitlines()) if e["event"] == "metrics")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        text = response.read().decode()
    assert 'routing_decisions_total{reason="threshold",router="static",tier="strong"} 3.0' in text
    assert 'routing_errors_total{method="Decide",reason="INPUT_MISSING"} 1.0' in text
    assert 'routing_call_seconds_count{method="Decide"} 4.0' in text


def test_health_command(start_service: StartService) -> None:
    service = start_service()
    result = run("health", "--address", service.address)
    assert (result.returncode, result.stdout.strip()) == (0, "SERVING")
    service.stop()
    assert "no service answers" in one_line(run("health", "--address", service.address))


def test_decide_command(start_service: StartService) -> None:
    service = start_service()
    result = run("decide", "What is the capital of France?", "--address", service.address, "--threshold", "0", "--json")
    decision = json.loads(result.stdout)
    assert (decision["model"], decision["threshold"], decision["router"]) == ("gpt-4-1106-preview", 0.0, "static")
    result = run("decide", "hi", "--address", service.address, "--strong-share", "0")
    assert result.stdout.startswith("mixtral-8x7b-instruct-v0.1")
    assert "did you mean 'static'" in one_line(run("decide", "hi", "--address", service.address, "--router", "statik"))
    assert run("decide", "hi", "--threshold", "2").returncode == 2


def test_workers_stop_when_their_supervisor_is_killed(start_service: StartService) -> None:
    service = start_service("--workers", "2")
    assert service.address
    workers = _children(service.process.pid)
    service.process.kill()
    service.process.wait()
    deadline = time.monotonic() + 20
    while (alive := [pid for pid in workers if _is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive


def _is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_ready_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    for extra in ((), ("--workers", "2")):
        line = one_line(run("serve", "--address", "127.0.0.1:0", "--ready-file", str(tmp_path / "no" / "f"), *extra))
        assert "--ready-file" in line


def test_a_burst_is_answered_whole(start_service: StartService) -> None:
    service = start_service()
    with grpc.insecure_channel(service.address) as channel:
        decide = pb_grpc.RoutingServiceStub(channel).Decide
        calls = [decide.future(pb.DecideRequest(prompt=f"What is {n} squared?")) for n in range(4000)]
        assert all(call.result(timeout=60).decision.model for call in calls)
