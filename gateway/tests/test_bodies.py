"""Requests that are wrong, large, or late."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest
from routing_client import exceptions as exc
from routing_client.endpoints import Endpoint
from routing_client.testing import FakeService
from routing_gateway.echo import RunningEcho
from routing_gateway.errors import GatewayError, from_routing_error
from routing_gateway.exchange import Exchange

from .conftest import Gateway, MakeGateway
from .scripted import ScriptedUpstream

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"model":', b"\xff\xfe", b"null"])
def test_a_body_that_is_no_json_object(gateway: Gateway, body: bytes) -> None:
    answer = gateway.request("POST", "/v1/chat/completions", body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("model", [None, 7, "", ["big"], {"a": 1}])
def test_a_model_that_is_no_name(gateway: Gateway, model: Any) -> None:
    answer = gateway.request("POST", "/v1/chat/completions", {"model": model, "messages": HELLO})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "model_missing", "model")


@pytest.mark.parametrize("messages", [None, [], {}, "hello", 7, True])
def test_messages_that_are_none(gateway: Gateway, messages: Any) -> None:
    answer = gateway.request("POST", "/v1/chat/completions", {"model": "router-fake-0.5", "messages": messages})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "messages_missing", "messages")


@pytest.mark.parametrize(
    "messages",
    [
        [7],
        [None],
        [{"role": "wizard", "content": "x"}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": [7]}],
        [{"role": "user", "content": [{"type": "text", "text": 7}]}],
        [{"role": "user", "content": " "}],
        [{"role": "system", "content": "x"}],
    ],
)
def test_without_any_words_of_the_user_there_is_nothing_to_route_on(
    gateway: Gateway, messages: Any, echo: RunningEcho
) -> None:
    answer = gateway.request("POST", "/v1/chat/completions", {"model": "router-fake-0.5", "messages": messages})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "no_user_turn", "messages")
    assert not echo.state.requests


@pytest.mark.parametrize(
    "odd",
    [
        {"role": "assistant", "content": [{"type": "text", "text": None}]},
        {"role": "ipython", "content": "4"},
        {"role": "tool", "tool_call_id": "a", "content": {"temp": 12}},
        {"role": "assistant"},
        {"content": None},
        7,
        None,
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_messages_that_are_not_routed_on_are_the_upstreams_to_judge(
    scripted_gateway: Gateway, scripted: ScriptedUpstream, odd: Any, place: int
) -> None:
    messages = [{"role": "user", "content": "a hard one"}]
    messages.insert(place, odd)
    answer = scripted_gateway.chat(messages=messages)
    assert (answer.status, answer.headers["x-routing-model"]) == (200, "big")
    assert json.loads(scripted.requests[-1][1])["messages"] == messages


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("router-fake-1.5", 400, "invalid_model"),
        ("router-", 400, "invalid_model"),
        ("router-fake-120pct", 400, "invalid_model"),
        ("router-nowhere", 404, "policy_not_found"),
    ],
)
def test_router_names_that_say_nothing_sound(gateway: Gateway, model: str, status: int, code: str) -> None:
    answer = gateway.chat(model)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, "model")


def test_a_model_that_nobody_serves(make_gateway: MakeGateway) -> None:
    answer = make_gateway(default=None).chat("gpt-99")
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")


def test_a_decided_model_without_an_endpoint_is_the_gateways_fault(make_gateway: MakeGateway) -> None:
    answer = make_gateway(models={"other": Endpoint("http://127.0.0.1:1/v1")}, default=None).chat(text="hard")
    assert (answer.status, answer.error["code"]) == (500, "model_not_configured")


def test_ten_megabytes_of_image_pass(gateway: Gateway, echo: RunningEcho, fake: FakeService) -> None:
    url = "data:image/png;base64," + "A" * 10_000_000
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what is hard here?"}]
    answer = gateway.chat(messages=[{"role": "user", "content": content}])
    assert answer.json()["model"] == "big"
    assert echo.state.requests[-1].body["messages"][0]["content"][0]["image_url"]["url"] == url
    assert fake.calls[-1].text == "what is hard here?"


def test_of_ten_megabytes_of_chat_the_service_gets_what_it_routes_on(gateway: Gateway, echo: RunningEcho) -> None:
    old = [{"role": "user", "content": "old " * 1_250_000}, {"role": "assistant", "content": "yes " * 1_250_000}]
    answer = gateway.chat(messages=[*old, {"role": "user", "content": "a hard one"}])
    assert answer.headers["x-routing-tier"] == "strong"
    assert len(echo.state.requests[-1].body["messages"]) == 3


@pytest.mark.parametrize("text", ["a hard one {}", "{} a hard one"])
def test_of_ten_megabytes_of_text_both_ends_are_routed_on(
    gateway: Gateway, text: str, echo: RunningEcho, fake: FakeService
) -> None:
    text = text.format("word " * 2_000_000)
    assert gateway.chat(text=text).json()["model"] == "big"
    assert len(fake.calls[-1].text) < 1 << 20
    assert echo.state.requests[-1].body["messages"][0]["content"] == text


def test_a_body_beyond_the_limit(make_gateway: MakeGateway) -> None:
    gateway = make_gateway({"max_body_bytes": 1000})
    answer = gateway.chat(text="x" * 1000)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert gateway.chat(text="x" * 800).status == 200


async def test_a_body_whose_length_is_beyond_the_limit_is_not_kept() -> None:
    messages = iter([{"type": "http.request", "body": b"x" * 10, "more_body": False}])

    async def receive() -> Any:
        return next(messages)

    headers = [(b"content-length", b"1001")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    with pytest.raises(GatewayError) as raised:
        await Exchange(scope, receive, None).read_body(1000)  # type: ignore[arg-type] # nothing is sent
    assert (raised.value.status, raised.value.code) == (413, "request_too_large")
    assert next(messages, None) is None, "the caller reads the answer when it has sent all"


@pytest.mark.parametrize("pieces", [1, 3, 100])
async def test_a_body_of_unknown_length_beyond_the_limit(pieces: int) -> None:
    messages = [{"type": "http.request", "body": b"x" * 2000, "more_body": True}] * (pieces - 1)
    messages.append({"type": "http.request", "body": b"x" * 2000, "more_body": False})
    left = iter(messages)

    async def receive() -> Any:
        return next(left)

    async def send(_message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    reading = Exchange(scope, receive, send).read_body(2001 if pieces > 1 else 1999)
    with pytest.raises(GatewayError) as raised:
        await asyncio.wait_for(reading, 5)
    assert raised.value.status == 413
    assert next(left, None) is None, "the caller reads the answer when it has sent all"


def test_beyond_so_many_in_flight_requests_are_refused(make_gateway: MakeGateway, eventually: Any) -> None:
    gateway = make_gateway({"max_concurrent": 2})
    hanging = {"model": "big#hang", "messages": HELLO}
    with gateway.connect(hanging), gateway.connect(hanging):
        eventually(lambda: gateway.state.in_flight == 2, "two requests hang")
        answer = gateway.chat()
        assert (answer.status, answer.error["code"]) == (503, "gateway_overloaded")
        assert answer.headers["retry-after"] == "1"
    eventually(lambda: gateway.state.in_flight == 0, "both have gone")
    assert gateway.chat().status == 200


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (exc.InvalidRequestError("x"), 400, "invalid_request_error"),
        (exc.InvalidRequestError("x", code=grpc.StatusCode.RESOURCE_EXHAUSTED), 400, "invalid_request_error"),
        (exc.NotFoundError("x"), 404, "invalid_request_error"),
        (exc.FailedPreconditionError("x"), 400, "invalid_request_error"),
        (exc.OverloadedError("x"), 429, "rate_limit_error"),
        (exc.UnavailableError("x"), 503, "server_error"),
        (exc.UnavailableError("x", code=grpc.StatusCode.UNKNOWN), 503, "server_error"),
        (exc.DeadlineExceededError("x"), 504, "server_error"),
        (exc.RouterFailedError("x"), 500, "server_error"),
        (exc.AccessDeniedError("x"), 500, "server_error"),
        (exc.NotImplementedByServerError("x"), 501, "server_error"),
        (exc.RoutingError("x"), 503, "server_error"),
    ],
)
def test_the_services_codes(error: exc.RoutingError, status: int, kind: str) -> None:
    mapped = from_routing_error(error)
    assert (mapped.status, mapped.kind) == (status, kind)


def test_every_exception_of_the_client_has_its_status() -> None:
    # A code that is missing in the table becomes 503, an outage: right for those that the client calls so only.
    for name in exc.__all__:
        kind = getattr(exc, name)
        if isinstance(kind, type) and issubclass(kind, exc.RoutingError) and not issubclass(kind, exc.UnavailableError):
            assert from_routing_error(kind("x")).status != 503 or kind is exc.RoutingError, name
