"""The commands behind proxy variables, and over a unix: socket."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from routing_client import RoutingClient

from tests.support.cli import Run, complaint, run
from tests.support.services import ServiceProcess, StartService

__all__ = ["run"]

VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
CLOSED = "http://me:secret@127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as the path of a socket must be, and with a space."""
    with tempfile.TemporaryDirectory(prefix="routing ", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("variable", [*VARIABLES, *(name.upper() for name in VARIABLES)])
def test_the_commands_reach_this_machine_behind_a_proxy(
    variable: str, run: Run, service: ServiceProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, CLOSED)
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    calibrate = ("calibrate", "--strong-model-pct", "0.5", "--address", service.address)
    for command in (
        ("health", "--address", service.address),
        ("health", "--address", service.address.replace("127.0.0.1", "localhost")),
        ("decide", "hi", "--address", service.address, "--threshold", "0.5"),
        calibrate,
        (*calibrate, "--input", tmp_path / "prompts.txt"),
    ):
        assert run(*command).code == 0, command


@pytest.mark.parametrize("command", [("health",), ("decide", "hi"), ("calibrate", "--strong-model-pct", "0.5")])
def test_what_fails_through_a_proxy_names_it(
    command: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", CLOSED)
    said = complaint(run(*command, "--address", "router.invalid:50051"))
    assert "no service answers at router.invalid:50051" in said
    assert "The call went through the proxy http://127.0.0.1:9 (HTTPS_PROXY)" in said
    assert "secret" not in said
    monkeypatch.setenv("no_proxy", "*.invalid")
    assert "proxy" not in complaint(run(*command, "--address", "router.invalid:50051"))


@pytest.mark.parametrize("command", [("health",), ("decide", "hi"), ("calibrate", "--strong-model-pct", "0.5")])
def test_a_variable_that_names_no_proxy_is_said(
    command: tuple[str, ...], run: Run, service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@:x")
    said = complaint(run(*command, "--address", "router.invalid:50051"))
    assert "the environment variable http_proxy does not name a proxy" in said
    assert "secret" not in said
    assert run(*command, "--address", service.address).code == 0


def test_a_service_on_a_socket(
    run: Run, start_service: StartService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, CLOSED)
    path = folder / "a.sock"
    service = start_service("--address", f"unix:{path}")
    assert service.address == f"unix:{path}"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert run("health", "--address", service.address).out == "SERVING\n"
    assert run("decide", "hi", "--address", service.address).code == 0
    monkeypatch.chdir(folder)
    assert run("calibrate", "--strong-model-pct", "0.5", "--address", "unix:a.sock").code == 0
    with RoutingClient(f"unix://{path}", timeout=30) as client:
        assert client.decide("hi").model
    assert "a server listens there already" in complaint(run("serve", "--address", service.address))
    assert run("health", "--address", service.address).code == 0
    assert service.stop() == 0
    assert list(folder.iterdir()) == []
    assert "no such file or directory" in complaint(run("health", "--address", f"unix:{path}"))


def test_a_dead_servers_socket_is_taken_over(start_service: StartService, folder: Path, run: Run) -> None:
    address = f"unix:{folder / 'a.sock'}"
    first = start_service("--address", address)
    assert first.address == address
    first.process.kill()
    first.process.wait()
    assert "connection refused" in complaint(run("health", "--address", address))
    second = start_service("--address", address)
    assert second.address == address
    assert run("health", "--address", address).code == 0
