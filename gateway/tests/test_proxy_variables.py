"""The gateway behind proxy variables: its service and its upstreams."""

from __future__ import annotations

import logging
import tempfile

import pytest
from routing_client.endpoints import Endpoint, Endpoints, EndpointsError
from routing_client.testing import FakeService, fake_server
from routing_gateway.config import GatewayConfig

from .conftest import MakeGateway

CLOSED = "http://me:secret@127.0.0.1:9"
SHOWN = "through the proxy http://127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("exempt", ["", "[::1]", "::1/128"])
@pytest.mark.parametrize("proxy", [CLOSED, "socks5://127.0.0.1:9", "garbage://"])
def test_this_machine_is_reached_without_one(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, proxy: str, exempt: str
) -> None:
    for name in VARIABLES[:4]:
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", exempt)
    gateway = make_gateway()
    assert gateway.chat().status == 200
    assert gateway.request("GET", "/health").json()["service"] == "SERVING"


def test_a_service_on_a_socket(make_gateway: MakeGateway, fake: FakeService) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="routing ", dir="/tmp") as folder,
        fake_server(fake, address=f"unix:{folder}/a.sock") as address,
    ):
        gateway = make_gateway(service=address)
        assert gateway.chat().status == 200
        assert gateway.request("GET", "/health").json()["service"] == "SERVING"


def test_the_log_names_the_services_proxy_and_the_caller_is_not_told(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", CLOSED)
    gateway = make_gateway(service="router.invalid:50051")
    with caplog.at_level(logging.WARNING):
        answer = gateway.chat()
    assert answer.status == 503
    assert f"no decision: unavailable ({SHOWN} (HTTPS_PROXY))" in caplog.text
    assert "127.0.0.1:9" not in answer.body.decode()
    assert "secret" not in caplog.text + answer.body.decode()


@pytest.mark.parametrize(
    ("variable", "value", "endpoints", "says"),
    [
        ("https_proxy", "h:x", {"models": {"big": Endpoint("https://big.invalid/v1")}}, "model 'big': the environment"),
        (
            "ALL_PROXY",
            "socks5://me:secret@h",
            {"default": Endpoint("http://h.invalid/v1")},
            "names a proxy of the kind",
        ),
        ("grpc_proxy", "https://me:secret@h", {"service": "router.invalid:50051"}, "service: the environment variable"),
    ],
)
def test_a_variable_that_cannot_be_used_is_said_at_the_start(
    variable: str, value: str, endpoints: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(EndpointsError, match=variable) as caught:
        GatewayConfig(Endpoints(**endpoints))  # type: ignore[arg-type]  # of several fields
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("no_proxy", ".invalid")
    GatewayConfig(Endpoints(**endpoints))  # type: ignore[arg-type]  # of several fields
