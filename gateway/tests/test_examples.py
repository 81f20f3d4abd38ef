"""`examples/openai` as their readers run them: the real service, the gateway where needed, an offline upstream."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from routing_client.endpoints import load_endpoints
from routing_gateway.echo import RunningEcho, serve_echo

from tests.support.services import ServiceProcess
from tests.support.waiting import PATIENCE_SECONDS, address_in

EXAMPLES = Path(__file__).parents[2] / "examples" / "openai"
GATEWAY = "import sys; from routing_gateway.cli.gateway import main; sys.exit(main())"

Run = Callable[..., str]


@pytest.fixture(scope="module")
def echo() -> Iterator[RunningEcho]:
    with serve_echo() as running:
        yield running


@pytest.fixture
def run(echo: RunningEcho, service: ServiceProcess) -> Run:
    """Runs an example, in an environment that points it here, and gives what it prints."""
    environment = {
        **os.environ,
        "ROUTING_SERVICE": service.address,
        "OPENAI_BASE_URL": echo.base_url,
        "OPENAI_API_KEY": "sk-example",
    }

    def run_it(*command: str, **more: str) -> str:
        done = subprocess.run(
            command, cwd=EXAMPLES, env={**environment, **more}, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_it


@pytest.fixture
def gateway(echo: RunningEcho, service: ServiceProcess, tmp_path: Path) -> Iterator[str]:
    """The gateway's URL."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", GATEWAY, "--service", service.address, "--base-url", echo.base_url]
    command += ["--strong-model", "large", "--weak-model", "small", "--port", "0", "--ready-file", str(ready)]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr)
    try:
        yield f"http://{address_in(ready, process, log)}"
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_the_sdk(run: Run, echo: RunningEcho) -> None:
    echo.state.requests.clear()
    printed = run(sys.executable, "sdk.py")
    assert "gpt-4.1-nano (win rate 0." in printed
    assert "gpt-4.1 (win rate 0." in printed
    assert "spent $0.00" in printed
    assert {each.headers["authorization"] for each in echo.state.requests} == {"Bearer sk-example"}
    assert len(echo.state.requests) == 5


def test_the_controller(run: Run) -> None:
    printed = run(sys.executable, "controller.py")
    assert "would go to gpt-4.1" in printed
    assert "win rates [0." in printed
    assert "chosen {'static': {'gpt-4.1" in printed


def test_ollama(run: Run, echo: RunningEcho, tmp_path: Path) -> None:
    here = tmp_path / "ollama.yaml"
    here.write_text((EXAMPLES / "ollama.yaml").read_text().replace("http://127.0.0.1:11434/v1", echo.base_url))
    echo.state.requests.clear()
    printed = run(
        sys.executable, "ollama.py", str(here), OPENAI_BASE_URL="https://api.openai.com/v1", OPENAI_API_KEY=""
    )
    assert printed.count("[large] ") + printed.count("[small] ") == 2
    assert {each.body["model"] for each in echo.state.requests} <= {"llama3.1:8b", "llama3.2:1b"}
    assert not any("authorization" in each.headers for each in echo.state.requests)


def test_curl(run: Run, gateway: str) -> None:
    printed = run("./gateway_curl.sh", GATEWAY_URL=gateway)
    assert "x-routing-model: small" in printed.lower()
    assert "data: [DONE]" in printed


def test_langchain(run: Run, gateway: str) -> None:
    pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    printed = run(sys.executable, "gateway_langchain.py", GATEWAY_URL=gateway)
    assert printed.startswith("small (win rate 0.")


def test_the_file_of_endpoints_is_sound() -> None:
    endpoints = load_endpoints(EXAMPLES / "endpoints.yaml")
    assert (endpoints.strong_model, endpoints.weak_model, endpoints.failover) == ("gpt-4.1", "llama", True)
    assert endpoints["llama"].upstream_model == "llama3.1:8b"
