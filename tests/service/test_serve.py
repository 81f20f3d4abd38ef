"""`routing-service serve` as a process: what it logs and counts, and the commands that ask it."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import TYPE_CHECKING

import grpc
import pytest
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.cli import Run, complaint, run

if TYPE_CHECKING:
    from tests.support.services import ServiceProcess, StartService

__all__ = ["run"]

SECRET = "swordfish-in-a-prompt"


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


def test_health_command(run: Run, service: ServiceProcess) -> None:
    ran = run("health", "--address", service.address)
    assert (ran.code, ran.out.strip()) == (0, "SERVING")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    assert "no service answers" in complaint(run("health", "--address", nowhere))


def test_decide_command(run: Run, service: ServiceProcess) -> None:
    ran = run("decide", "What is the capital of France?", "--address", service.address, "--threshold", "0", "--json")
    decision = json.loads(ran.out)
    assert (decision["model"], decision["threshold"], decision["router"]) == ("gpt-4-1106-preview", 0.0, "static")
    ran = run("decide", "hi", "--address", service.address, "--strong-share", "0")
    assert ran.out.startswith("mixtral-8x7b-instruct-v0.1")
    said = complaint(run("decide", "hi", "--address", service.address, "--router", "statik"))
    assert "did you mean 'static'" in said
    assert run("decide", "hi", "--threshold", "2").code == 2
