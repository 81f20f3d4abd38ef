"""A router and an embedder of an installed package, served."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example package, built and installed into a folder that services started by the test import from."""
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(EXAMPLE)], check=True, capture_output=True)
    monkeypatch.setenv("PYTHONPATH", str(target))
    return target


def test_an_installed_router_and_embedder_are_served(installed: Path, start_service: Callable[..., Any]) -> None:
    service = start_service(config=(EXAMPLE / "routing.yaml").read_text())
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        decision = stub.Decide(pb.DecideRequest(prompt="x" * 400)).decision
        assert (decision.router, decision.strong_win_rate) == ("length", 0.5)
        hard = stub.Decide(pb.DecideRequest(prompt="prove the theorem.", router="hard", threshold=0.9)).decision
        assert hard.strong_win_rate == pytest.approx(1, abs=1e-6)
        assert hard.prompt_tokens == 3
        assert hard.timing.queue_us > 0
        prompts = ["Prove the theorem.", "hi", "Derive the formula"]
        batch = pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=p, router="hard") for p in prompts])
        rates = [result.decision.strong_win_rate for result in stub.BatchDecide(batch).results]
        singles = [stub.Decide(pb.DecideRequest(prompt=p, router="hard")).decision.strong_win_rate for p in prompts]
        assert rates == singles
        assert rates[1] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("dimension: 512", "dimenson: 512"), "did you mean 'dimension'"),
        (("dimension: 512", "dimension: 0"), "at least 1"),
        (("type: hashing", "type: hashin"), "did you mean 'hashing'"),
        (("embedder: words", "embedder: wrods"), "did you mean 'words'"),
        (("type: similarity", "type: similarty"), "did you mean 'similarity'"),
    ],
)
def test_its_configuration_is_checked_like_any_other(
    installed: Path, tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text((EXAMPLE / "routing.yaml").read_text().replace(*change))
    command = [sys.executable, "-m", "routing_service", "check-config", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"{path}:" in result.stderr
    assert says in result.stderr


def test_without_the_package_its_types_are_unknown() -> None:
    command = [sys.executable, "-m", "routing_service", "check-config", str(EXAMPLE / "routing.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "no router type is named 'length'" in result.stderr or "no embedder type" in result.stderr


def test_an_installed_benchmark_is_evaluated_with_an_installed_router(installed: Path, tmp_path: Path) -> None:
    rows = [f"{'please ' * (i % 9)}help me with case {i},{5 - i % 2},{5 - i % 3}" for i in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["ticket,big,small", *rows]) + "\n")
    # A type that needs no options needs no configuration.
    command = [sys.executable, "-m", "routing_service", "evaluate", "--json"]
    command += ["--routers", "length", "--strong-model", "big", "--weak-model", "small"]
    command += ["--benchmark", "tickets", "--cache-dir", str(tmp_path / "cache")]
    ran = subprocess.run([*command, "--data", str(tmp_path)], check=True, capture_output=True, text=True)
    (benchmark,) = json.loads(ran.stdout)["benchmarks"]
    assert (benchmark["title"], benchmark["prompts"], benchmark["routers"][0]["type"]) == (
        "Support tickets",
        40,
        "length",
    )
    # It says so itself.
    assert benchmark["routers"][0]["sample"]["exposure"] == "untrained"
    # Its revision says nothing, so that its win rates are not kept.
    assert not (tmp_path / "cache").exists()
    failed = subprocess.run(command, capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "tickets needs --data DIR" in failed.stderr


def test_an_installed_command_runs(installed: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "routing_service", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert "how-long    Say how long a prompt is." in run("--help")[1]
    assert run("how-long", "four") == (0, "4\n", "")
    problem = "routing-service: error: 4 characters are more than 3; shorten the prompt\n"
    assert run("how-long", "four", "--at-most", "3") == (1, "", problem)
