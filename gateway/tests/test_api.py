"""The paths that the gateway answers itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from routing_client import UnavailableError
from routing_client.endpoints import Endpoint
from routing_client.testing import FakeService
from routing_client.types import Decision, DecisionReason, Explanation, Span, Tier
from routing_gateway.echo import RunningEcho

from .conftest import Gateway, MakeGateway


def test_models_are_policies_routers_and_the_real_ones(gateway: Gateway) -> None:
    listed = gateway.request("GET", "/v1/models").json()
    assert listed["object"] == "list"
    assert [each["id"] for each in listed["data"]] == ["router-cheap", "router-fake", "big", "small"]
    assert {each["owned_by"] for each in listed["data"]} == {"routing-service", "upstream"}


def test_without_the_service_the_real_models_are_listed(gateway: Gateway, fake: FakeService) -> None:
    fake.failure = UnavailableError("down")
    assert [each["id"] for each in gateway.request("GET", "/v1/models").json()["data"]] == ["big", "small"]


@pytest.mark.parametrize("name", ["router-cheap", "router-fake", "router-fake-0.5", "router-fake-20pct", "big"])
def test_a_model_is_found(gateway: Gateway, name: str) -> None:
    assert gateway.request("GET", f"/v1/models/{name}").json()["id"] == name


@pytest.mark.parametrize("name", ["router-nowhere-0.5", "router-fake-7", "router-", "gpt-99"])
def test_a_model_is_not_found(gateway: Gateway, name: str) -> None:
    answer = gateway.request("GET", f"/v1/models/{name}")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_health_while_all_is_well(gateway: Gateway) -> None:
    answer = gateway.request("GET", "/health")
    assert answer.status == 200
    assert answer.json() == {
        "status": "ok",
        "service": "SERVING",
        "upstreams": {name: {"state": "untried"} for name in ("big", "small", "default")},
        "in_flight": 0,
    }


def test_health_tells_the_upstreams_newest_state(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    sound, gone = Endpoint(echo.base_url), Endpoint("http://127.0.0.1:1/v1")
    busy = Endpoint(echo.base_url, upstream_model="x#status=429")
    gateway = make_gateway(models={"sound": sound, "gone": gone, "busy": busy}, default=None)
    assert [gateway.chat(name).status for name in ("sound", "gone", "busy")] == [200, 502, 429]
    answer = gateway.request("GET", "/health")
    shown = answer.json()["upstreams"]
    assert {name: each["state"] for name, each in shown.items()} == {
        "sound": "ok",
        "gone": "unreachable",
        "busy": "failing",
    }
    assert (shown["busy"]["status"], answer.json()["status"], answer.status) == (429, "degraded", 200)


@pytest.mark.parametrize(("fallback", "status", "said"), [(None, 503, "unavailable"), ("big", 200, "degraded")])
def test_health_without_the_service(make_gateway: MakeGateway, fallback: str | None, status: int, said: str) -> None:
    gateway = make_gateway(service="127.0.0.1:1", fallback_model=fallback)
    answer = gateway.request("GET", "/health")
    assert (answer.status, answer.json()["status"], answer.json()["service"]) == (status, said, "UNAVAILABLE")


def test_metrics(gateway: Gateway) -> None:
    gateway.chat(text="hard")
    gateway.chat("nowhere-else", "x")
    answer = gateway.request("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    for line in (
        'routing_gateway_requests_total{path="chat_completions",status="200"} 2.0',
        'routing_gateway_decisions_total{router="fake",tier="strong"} 1.0',
        'routing_gateway_upstream_responses_total{endpoint="big",status="200"} 1.0',
        'routing_gateway_upstream_responses_total{endpoint="default",status="200"} 1.0',
        "routing_gateway_in_flight 0.0",
    ):
        assert line in lines
    assert "nowhere-else" not in answer.body.decode(), "callers must not make new series"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"prompt": "a hard one"}, {"tier": "strong", "model": "big", "threshold": 0.5}),
        ({"prompt": "x", "router": "fake", "threshold": 0.1}, {"tier": "strong", "threshold": 0.1}),
        ({"prompt": "x", "strong_share": 0.25}, {"tier": "weak", "threshold": 0.75}),
        ({"messages": [{"role": "user", "content": "hard"}], "policy": "cheap"}, {"tier": "weak", "threshold": 0.95}),
    ],
)
def test_a_decision_without_any_upstream(
    gateway: Gateway, asked: dict[str, Any], expected: dict[str, Any], echo: RunningEcho
) -> None:
    shown = gateway.request("POST", "/api/decide", asked).json()
    assert {name: shown[name] for name in expected} == expected
    assert {"strong_win_rate", "router", "router_revision", "decision_id", "reason"} <= set(shown)
    assert echo.state.counters.started == 0


@pytest.mark.parametrize(
    ("spans", "read"),
    [([(0, 5)], None), ([(0, 2)], "é"), ([(2, 3), (4, 5)], "bd"), ([(1, 3)], "\ufffdb"), ([], None)],
)
def test_what_was_read_is_said_where_it_is_not_all(
    gateway: Gateway, fake: FakeService, spans: list[tuple[int, int]], read: str | None
) -> None:
    explanation = Explanation(tuple(Span(0, 0, begin, end) for begin, end in spans))
    fake.then(Decision("big", Tier.STRONG, DecisionReason.RULE, explanation=explanation, rule="titles"))
    shown = gateway.request("POST", "/api/decide", {"prompt": "ébcd"}).json()
    assert (shown["read"], shown["rule"], shown["strong_win_rate"]) == (read, "titles", None)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "messages": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "threshold": 2}, "threshold"),
        ({"prompt": "x", "threshold": "0.5"}, "threshold"),
        ({"prompt": "x", "policy": "nowhere"}, "policy"),
    ],
)
def test_a_decision_that_cannot_be(gateway: Gateway, asked: dict[str, Any], param: str) -> None:
    answer = gateway.request("POST", "/api/decide", asked)
    assert answer.status in {400, 404}
    assert answer.error["param"] == param


def test_what_the_page_needs_to_know(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    endpoint = Endpoint(echo.base_url, input_price=10, output_price=30)
    gateway = make_gateway({"echo": True}, models={"s": endpoint}, strong_model="s")
    shown = gateway.request("GET", "/api/routers").json()
    assert shown["models"] == [{"name": "s", "input_price": 10, "output_price": 30}]
    assert (shown["strong_model"], shown["weak_model"], shown["echo"]) == ("s", "small", True)
    assert shown["policies"] == [{"name": "cheap", "router": "fake", "threshold": 0.95, "is_default": False}]
    (router,) = shown["routers"]
    assert (router["name"], router["is_default"], len(router["calibration"]["points"])) == ("fake", True, 99)
    assert router["calibration"]["points"][0] == {"strong_share": 0.01, "threshold": 0.99}


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/routers"), ("POST", "/api/decide")])
def test_the_page_is_told_of_an_outage(gateway: Gateway, fake: FakeService, method: str, path: str) -> None:
    fake.failure = UnavailableError("down")
    answer = gateway.request(method, path, {"prompt": "x"} if method == "POST" else None)
    assert (answer.status, answer.error["code"]) == (503, "unavailable")


def test_the_page_may_load_nothing_foreign(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, make_gateway: MakeGateway, tmp_path: Any
) -> None:
    (tmp_path / "page" / "parts").mkdir(parents=True)
    (tmp_path / "page" / "index.html").write_text("<p>hello")
    (tmp_path / "page" / "parts" / "a.js").write_text("1")
    (tmp_path / "page" / "notes.txt").write_text("not for the web")
    (tmp_path / "secret.js").write_text("2")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    gateway = make_gateway()
    answer = gateway.request("GET", "/")
    assert (answer.body, answer.headers["content-type"]) == (b"<p>hello", "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert gateway.request("GET", "/page/parts/a.js").headers["content-type"].startswith("text/javascript")
    for path in ("/page/notes.txt", "/page/../secret.js", "/page/%2e%2e/secret.js", "/page/"):
        assert gateway.request("GET", path).status == 404, path


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/health", 405)])
def test_paths_that_are_not_there(gateway: Gateway, method: str, path: str, status: int) -> None:
    answer = gateway.request(method, path)
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"


def test_a_foreign_page_may_not_spend_the_gateways_keys(gateway: Gateway, echo: RunningEcho) -> None:
    body = {"model": "big", "messages": [{"role": "user", "content": "x"}]}
    answer = gateway.request("POST", "/v1/chat/completions", body, {"Origin": "https://evil.example"})
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers
    assert echo.state.counters.started == 0
    assert gateway.request("POST", "/v1/chat/completions", body, {"Origin": f"http://{gateway.address}"}).status == 200


def test_an_allowed_origin(make_gateway: MakeGateway) -> None:
    gateway = make_gateway({"cors_origins": ("https://app.example",)})
    body = {"model": "router-fake-0.5", "messages": [{"role": "user", "content": "x"}]}
    answer = gateway.request("POST", "/v1/chat/completions", body, {"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "x-routing-model" in answer.headers["access-control-expose-headers"]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization, content-type"}  # fmt: skip
    assert gateway.request("OPTIONS", "/v1/chat/completions", None, asked).status == 200
    assert gateway.request("POST", "/v1/chat/completions", body, {"Origin": "https://evil.example"}).status == 403


def test_keys_are_not_shown(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    gateway = make_gateway(models={"big": Endpoint(echo.base_url, api_key="sk-secret")})
    state = gateway.state
    target = state.targets.find("big")
    assert target is not None
    assert target.key == "sk-secret"
    for shown in (repr(state.config), repr(target), str(dataclasses.replace(target, name="x"))):
        assert "sk-secret" not in shown
    for path in ("/health", "/metrics", "/api/routers", "/v1/models"):
        assert b"sk-secret" not in gateway.request("GET", path).body
