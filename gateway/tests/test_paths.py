"""One resource under other spellings of its path."""

from __future__ import annotations

import pytest
from routing_gateway.echo import RunningEcho
from routing_gateway.errors import GatewayError
from routing_gateway.paths import normalized

from .conftest import Gateway
from .scripted import ScriptedUpstream

CHAT = {"model": "router-fake-0.5", "messages": [{"role": "user", "content": "a hard one"}]}


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions/", "/v1//chat/completions", "//v1/chat/completions", "/v1/v1/chat/completions",
     "/v1/v1/v1/chat/completions//", "/chat/completions", "/openai/v1/chat/completions", "/api/v1/chat/completions",
     "//chat//completions/", "/v1/chat/completions?x=/v1/v1/"],
)  # fmt: skip
def test_a_chat_is_routed_under_each(gateway: Gateway, echo: RunningEcho, path: str) -> None:
    answer = gateway.request("POST", path, CHAT)
    assert (answer.status, answer.headers["x-routing-model"]) == (200, "big")
    assert echo.state.requests[-1].path == "/v1/chat/completions"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "//v1/models", "/models", "/v1/v1/models/big"])
def test_models_are_listed_under_each(gateway: Gateway, path: str) -> None:
    assert gateway.request("GET", path).status == 200


def test_other_paths_reach_the_upstream_in_the_usual_spelling(
    scripted_gateway: Gateway, scripted: ScriptedUpstream
) -> None:
    assert scripted_gateway.request("GET", "//v1/v1//files/a%2Fb/?x=//").status == 200
    assert scripted.head.startswith("GET /v1/files/a%2Fb?x=// ")


@pytest.mark.parametrize(
    "path",
    ["/openai/deployments/gpt-4/chat/completions?api-version=1", "/v1", "/v1/", "/completion", "/v2/chat/completions"],
)
def test_where_there_is_none_it_is_said_what_to_write(gateway: Gateway, path: str) -> None:
    answer = gateway.request("POST", path, CHAT)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert "http://HOST:PORT/v1" in answer.error["message"]


@pytest.mark.parametrize("path", ["/health/", "//metrics", "/page//index.html", "/"])
def test_the_gateways_own_paths(gateway: Gateway, path: str) -> None:
    assert gateway.request("GET", path).status == 200


@pytest.mark.parametrize("path", ["/v1/a..b/c.", "/v1/..a", "/v1/files/...", "/v1/%E2%82%AC", "/v1/a;b/c"])
def test_names_with_dots_and_escapes_stay(path: str) -> None:
    assert normalized(path) == path


@pytest.mark.parametrize("path", ["/v1/%C0%AE%C0%AE/..", "/../v1/files", "/v1\\..\\x", "/v1/a/..%2f"])
def test_what_climbs_is_nowhere(path: str) -> None:
    with pytest.raises(GatewayError):
        normalized(path)
