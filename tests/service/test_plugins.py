"""A router and an embedder of an installed package, served."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.cli import Ran, Run, complaint, run

__all__ = ["run"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package: its wheel, unpacked."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("plugin")
    (wheel,) = WheelBuilder(str(EXAMPLE)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example package is found by this process, and by services that the test starts."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "routing_example"]:
        del sys.modules[name]


@pytest.mark.usefixtures("installed")
def test_an_installed_router_and_embedder_are_served(start_service: Callable[..., Any]) -> None:
    service = start_service(config=(EXAMPLE / "routing.yaml").read_text())
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        decision = stub.Decide(pb.DecideRequest(prompt="all work and no play".ljust(400, "."))).decision
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


@pytest.mark.usefixtures("installed")
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
    run: Run, tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text((EXAMPLE / "routing.yaml").read_text().replace(*change))
    said = complaint(run("check-config", path))
    assert f"{path}:" in said
    assert says in said


def test_without_the_package_its_types_are_unknown(run: Run) -> None:
    said = complaint(run("check-config", EXAMPLE / "routing.yaml"))
    assert "no embedder type is named 'hashing'" in said


@pytest.mark.usefixtures("installed")
def test_an_installed_benchmark_is_evaluated_with_an_installed_router(run: Run, tmp_path: Path) -> None:
    rows = [f"{'please ' * (i % 9)}help me with case {i},{5 - i % 2},{5 - i % 3}" for i in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["ticket,big,small", *rows]) + "\n")
    # A type that needs no options needs no configuration.
    command: list[Any] = ["evaluate", "--json", "--routers", "length", "--strong-model", "big", "--weak-model", "small"]
    command += ["--benchmark", "tickets", "--cache-dir", tmp_path / "cache"]
    ran = run(*command, "--data", tmp_path)
    (benchmark,) = json.loads(ran.out)["benchmarks"]
    assert (benchmark["title"], benchmark["prompts"], benchmark["routers"][0]["type"]) == (
        "Support tickets",
        40,
        "length",
    )
    # It says so itself.
    assert benchmark["routers"][0]["sample"]["exposure"] == "untrained"
    # Its revision says nothing, so that its win rates are not kept.
    assert not (tmp_path / "cache").exists()
    assert "tickets needs --data DIR" in complaint(run(*command))


@pytest.mark.usefixtures("installed")
def test_an_installed_command_runs(run: Run) -> None:
    assert "how-long Say how long a prompt is." in " ".join(run("--help").out.split())
    assert run("how-long", "four") == Ran(0, "4\n", "")
    problem = "routing-service: error: 4 characters are more than 3; shorten the prompt\n"
    assert run("how-long", "four", "--at-most", "3") == Ran(1, "", problem)
