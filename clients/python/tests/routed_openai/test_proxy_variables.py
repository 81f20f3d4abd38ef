"""OpenAI's client behind proxy variables."""

from __future__ import annotations

import openai
import pytest
from routing_client.endpoints import Endpoint, Endpoints
from routing_client.openai import RoutedOpenAI
from routing_client.proxies import ProxyError
from routing_gateway.echo import RunningEcho

from .conftest import EASY, MakeFace

CLOSED = "http://me:secret@127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")
MESSAGES = [{"role": "user", "content": EASY}]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("exempt", ["", "[::1]", "::1/128"])
@pytest.mark.parametrize("proxy", [CLOSED, "socks5://127.0.0.1:9", "garbage://"])
def test_this_machine_is_reached_without_one(
    make_face: MakeFace,
    endpoints: Endpoints,
    echo: RunningEcho,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
    exempt: str,
) -> None:
    for name in VARIABLES[:4]:
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", exempt)
    for face in (
        make_face(endpoints=endpoints, max_retries=0),
        make_face(base_url=echo.base_url, api_key="k", max_retries=0, service=endpoints.service),
    ):
        assert face.create(model="router-fake-0.5", messages=MESSAGES).choices
    assert len(echo.state.requests) == 2


def test_an_error_names_the_proxy(make_face: MakeFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", CLOSED)
    face = make_face(endpoints={"big": Endpoint("http://big.invalid/v1")}, max_retries=0)
    with pytest.raises(
        openai.APIConnectionError, match=r"through the proxy http://127.0.0.1:9 \(http_proxy\)"
    ) as caught:
        face.create(model="big", messages=MESSAGES)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("no_proxy", ".invalid")
    face = make_face(endpoints={"big": Endpoint("http://big.invalid/v1")}, max_retries=0)
    with pytest.raises(openai.APIConnectionError) as caught:
        face.create(model="big", messages=MESSAGES)
    assert "proxy" not in str(caught.value)


def test_a_variable_that_cannot_be_used_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@h:x")
    with pytest.raises(ProxyError, match="HTTPS_PROXY does not name a proxy") as caught:
        RoutedOpenAI(base_url="https://big.invalid/v1", api_key="k")
    assert "secret" not in str(caught.value)


def test_the_callers_own_http_client_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = openai.DefaultHttpxClient()
    monkeypatch.setenv("HTTPS_PROXY", "garbage://")
    with RoutedOpenAI(base_url="https://big.invalid/v1", api_key="k", http_client=own) as client:
        assert client._client is own
