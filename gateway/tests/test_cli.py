"""`routing-gateway` as a command."""

from __future__ import annotations

import http.client
import json
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from routing_gateway.cli import gateway as cli
from routing_gateway.config import GatewayConfig
from routing_gateway.echo import RunningEcho

from .conftest import LIMIT_S, StartGateway


def config(*arguments: str) -> GatewayConfig:
    return cli.config_from(cli.parser().parse_args(arguments))


@dataclass(frozen=True)
class Done:
    code: int | str | None
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command line in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    filters = [(each, each.filters[:]) for each in logging.getLogger().handlers]

    def run(*arguments: str) -> Done:
        try:
            code: int | str | None = cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        return Done(code, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for each, before in filters:
        each.filters[:] = before


def test_help_has_an_example(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    assert "Example: routing-gateway --service" in done.stdout
    for flag in (
        "--service",
        "--strong-model",
        "--weak-model",
        "--base-url",
        "--api-key",
        "--config",
        "--host",
        "--port",
    ):
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "not a port"),
        (["--port", "٣"], "not a port"),
        (["--host", "127.0.0.1:6060"], "without http:// and without a port"),
        (["--host", "http://localhost"], "is not a host; write a name or an IP address"),
        (["--max-concurrent", "0"], "of 1 or more"),
        (["--decision-timeout", "-1"], "positive number of seconds"),
        (["--nonsense"], "unrecognized arguments"),
        (["--api-key", "a", "--api-key-env", "B"], "not allowed with"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("routing-gateway: error: ")
    assert says in done.stderr
    assert "routing-gateway --help" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--base-url", "localhost:11434"], "http://"),
        (["--service", "localhost"], "service: 'localhost' is not an address: it has no port; write localhost:50051"),
        (["--service", ""], "service: the address is empty"),
        (["--service", "localhost:0"], "port 0 is for listening only"),
        (["--service", "localhost:99999"], "'99999' is not a port"),
        (["--host", "[2001:db8::1]"], "cannot listen on [2001:db8::1]:6060"),
        (["--strong-model", "m", "--weak-model", "m"], "both 'm'"),
        (["--api-key-env", "SURELY_NOT_SET"], "SURELY_NOT_SET"),
        (["--cors-origin", "app.example"], "https://app.example"),
        (["--cors-origin", "https://app.example/x"], "without a path"),
        (["--cors-origin", "app://*"], "without a path"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1:6060"),
        (["--ready-file", "/nowhere/ready"], "--ready-file /nowhere/ready cannot be written"),
        (["--base-url", "http://x/v1?version=2"], "base_url has"),
        (["--base-url", "http://x /v1"], "base_url has"),
        (["--base-url", "http://x/v1/chat/completions"], "before /chat/completions"),
        (["--api-key", "sk-\u2026"], "api_key must be printable ASCII"),
        (["--service", "http://127.0.0.1:50051"], "without http://"),
        (["--strong-model", "router-mf-0.5"], "'router-mf-0.5' begins with 'router-'"),
        (["--strong-model", "default"], "a model is called 'default'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(run: Run, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("routing-gateway: error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("header", ['"X A": "1"', '"X-\u00dc": "1"', '"X-A": "1\\nX-B: 2"', '"X-A": "\u2026"'])
def test_a_header_that_cannot_be_sent(run: Run, tmp_path: Path, header: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f'models: {{m: {{base_url: "http://x/v1", headers: {{{header}}}}}}}', encoding="utf-8")
    done = run("--config", str(file))
    assert done.code == 1
    assert str(file) in done.stderr or "model 'm'" in done.stderr
    assert "the header 'X" in done.stderr


def test_the_model_whose_key_is_missing_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text('models: {m: {base_url: "http://x/v1", api_key_env: SURELY_NOT_SET}}', encoding="utf-8")
    assert "model 'm': the environment variable SURELY_NOT_SET" in run("--config", str(file)).stderr


def test_a_taken_port(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr


def test_the_version(run: Run) -> None:
    assert run("--version") == Done(0, f"routing-gateway {version('routing-gateway')}\n", "")


def test_with_nothing_all_goes_to_openai_with_the_callers_key() -> None:
    made = config()
    assert made.service == "127.0.0.1:50051"
    assert made.endpoints.default is not None
    assert made.endpoints.default.base_url == "https://api.openai.com/v1"
    assert made.key("default") is None
    assert dict(made.endpoints) == {}


def test_the_pair_and_its_server() -> None:
    made = config(
        "--strong-model", "s", "--weak-model", "w", "--base-url", "http://u/v1", "--api-key", "k", "--failover"
    )
    assert {name: each.base_url for name, each in made.endpoints.items()} == {"s": "http://u/v1", "w": "http://u/v1"}
    assert (made.endpoints.strong_model, made.endpoints.weak_model) == ("s", "w")
    assert (made.key("s"), made.key("default"), made.endpoints.failover) == ("k", "k", True)


def test_options_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """
service: router:50051
strong_model: s
weak_model: w
models:
  s: {base_url: "http://s/v1", api_key: a}
  w: {base_url: "http://w/v1", upstream_model: mixtral}
failover: true
"""
    )
    made = config("--config", str(file))
    assert (made.service, made.endpoints.failover, made.endpoints.default) == ("router:50051", True, None)
    made = config("--config", str(file), "--service", "other:1", "--no-failover", "--fallback-model", "w")
    assert (made.service, made.endpoints.failover, made.endpoints.fallback_model) == ("other:1", False, "w")
    assert made.endpoints["w"].upstream_model == "mixtral"
    made = config("--config", str(file), "--base-url", "http://d/v1", "--strong-model", "new")
    assert made.endpoints["new"].base_url == "http://d/v1"
    assert made.endpoints["s"].base_url == "http://s/v1"


def test_a_model_that_litellm_calls_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("models: {s: {base_url: litellm, upstream_model: bedrock/x}}\n")
    done = run("--config", str(file))
    assert done.code == 1
    assert "LiteLLM" in done.stderr


def test_requests_in_flight_finish_after_sigterm(
    start_gateway: StartGateway, fake_address: str, echo: RunningEcho, eventually: Callable[..., None]
) -> None:
    gateway = start_gateway("--service", fake_address, "--base-url", echo.base_url)
    messages = [{"role": "user", "content": "slow"}]
    with gateway.connect({"model": "big#pace=0.05", "stream": True, "messages": messages}) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.read(5) == b"data:"
        gateway.process.send_signal(signal.SIGTERM)
        eventually(lambda: refused(gateway.address), "no new connections are accepted")
        assert answer.read().endswith(b"data: [DONE]\n\n")
    assert gateway.process.wait(LIMIT_S) == 0


def test_what_does_not_finish_is_cut_off(start_gateway: StartGateway, fake_address: str, echo: RunningEcho) -> None:
    gateway = start_gateway("--service", fake_address, "--base-url", echo.base_url, "--shutdown-timeout", "1")
    messages = [{"role": "user", "content": "x"}]
    with gateway.connect({"model": "big#endless,pace=0.01", "stream": True, "messages": messages}) as connection:
        assert connection.recv(100)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(LIMIT_S) == 0
    assert "Traceback" not in gateway.log.read_text()


def test_the_ready_file_is_there_when_requests_are_answered_and_not_before(
    start_gateway: StartGateway,
    fake_address: str,
    echo: RunningEcho,
    tmp_path: Path,
    eventually: Callable[[Callable[[], bool], str], None],
) -> None:
    ready = tmp_path / "ready-0"
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            with suppress(FileNotFoundError):
                seen.add(ready.read_text())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        gateway = start_gateway("--service", fake_address, "--base-url", echo.base_url)
        assert gateway.request("GET", "/health").status == 200
        eventually(lambda: bool(seen), "the thread that looks has had its turn")
    finally:
        over.set()
        watcher.join()
    assert seen == {f"{gateway.address}\n"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_ready_file_of_a_gateway_that_is_gone_does_not_stay(run: Run, tmp_path: Path) -> None:
    stale = tmp_path / "ready"
    stale.write_text("127.0.0.1:1\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run("--port", str(taken.getsockname()[1]), "--ready-file", str(stale)).code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", ["UNAVAILABLE", "NOT_SERVING"])
def test_a_service_that_is_out_is_told_at_the_start(
    start_gateway: StartGateway, echo: RunningEcho, eventually: Callable[..., None], state: str
) -> None:
    with ExitStack() as stack:
        address = "127.0.0.1:1"
        if state == "NOT_SERVING":
            server = grpc.server(stack.enter_context(ThreadPoolExecutor(1)))
            servicer = health.HealthServicer()
            servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            stack.callback(lambda: server.stop(None).wait())
        gateway = start_gateway("--service", address, "--base-url", echo.base_url)
        said = f"the decision service at {address} is NOT_SERVING"
        if state == "UNAVAILABLE":
            said = f"no decision service answers at {address} (UNAVAILABLE); is `routing-service serve` running?"
        eventually(lambda: said in gateway.log.read_text(), "it is logged")
        answer = gateway.chat("router-static-50pct")
        assert answer.status >= 500
        assert "failed to connect" not in answer.error["message"], "gRPC's words"


def test_ipv6(start_gateway: StartGateway, fake_address: str, echo: RunningEcho) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("not here: there is no IPv6 loopback")
    gateway = start_gateway("--service", fake_address, "--base-url", echo.base_url, "--host", "::1")
    assert gateway.address.startswith("[::1]:")
    assert json.loads(gateway.request("GET", "/v1/models").body)["object"] == "list"


def refused(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return True
    return False
