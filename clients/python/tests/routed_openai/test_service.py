"""Model strings that are wrong, and a decision service that is out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from routing_client import (
    InvalidRequestError,
    ModelNameError,
    NotFoundError,
    OverloadedError,
    RoutingClient,
    RoutingError,
    UnavailableError,
)
from routing_client.endpoints import Endpoints
from routing_client.openai import RoutedOpenAI, routing_of
from routing_client.testing import FakeService, fake_server
from routing_gateway.echo import EchoState

from .conftest import EASY, HARD, STRONG, WEAK, Face, MakeFace

MODEL = "router-fake-0.5"


@pytest.mark.parametrize("model", ["router-", "router-fake-1.5", "router-fake-150pct", "router-fake--1", "router-0.5"])
def test_a_bad_model_string_calls_nobody(face: Face, service: FakeService, upstream: EchoState, model: str) -> None:
    with pytest.raises(ModelNameError):
        face.create(model)
    assert not service.calls
    assert not upstream.requests


def test_an_unknown_policy_or_router_is_an_error(face: Face, upstream: EchoState) -> None:
    with pytest.raises(NotFoundError, match="no policy and no router 'chaep'; policies: cheap; routers: fake"):
        face.create("router-chaep")
    assert not upstream.requests


def test_a_policy_that_comes_later_is_found(face: Face, service: FakeService) -> None:
    face.create("router-cheap")
    service._policies = {"dear": 0.0}
    assert face.create("router-dear", EASY).model == STRONG
    with pytest.raises(NotFoundError):
        face.create("router-cheap")


def test_a_policy_that_goes_leaves_the_router_of_its_name(face: Face, service: FakeService) -> None:
    service._policies = {"fake": 0.0}
    assert face.create("router-fake", EASY).model == STRONG
    service._policies = {}
    assert face.create("router-fake", EASY).model == WEAK
    assert [call.policy for call in service.calls] == ["fake", "fake", ""]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": " "}],
        [{"role": "assistant", "content": "hi"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}],
    ],
)
def test_nothing_to_decide_on(
    face: Face, make_face: MakeFace, endpoints: Endpoints, upstream: EchoState, messages: list[Any]
) -> None:
    with pytest.raises(InvalidRequestError):
        face.create(MODEL, messages=messages)
    assert not upstream.requests
    response = make_face(endpoints=endpoints, fallback_model=WEAK).create(
        MODEL, messages=messages or [{"role": "user", "content": ""}]
    )
    assert (response.model, response.routing.fallback) == (WEAK, "NO_USER_TURN")


def test_what_is_no_list_of_messages_is_an_error(face: Face) -> None:
    with pytest.raises(InvalidRequestError, match="messages"):
        face.create(MODEL, messages="hi")
    with pytest.raises(InvalidRequestError, match="no user message"):
        face.create(MODEL, messages=[{"role": "robot", "content": "hi"}])


@pytest.mark.parametrize("failure", [UnavailableError("down"), OverloadedError("busy", reason="OVERLOADED")])
def test_an_outage_is_raised_or_answered_by_the_fallback(
    make_face: MakeFace, endpoints: Endpoints, service: FakeService, upstream: EchoState, failure: RoutingError
) -> None:
    service.failure = failure
    with pytest.raises(type(failure)):
        make_face(endpoints=endpoints).create(MODEL, EASY)
    assert not upstream.requests
    face = make_face(endpoints=endpoints, fallback_model=STRONG)
    for model in (MODEL, "router-cheap"):
        response = face.create(model, EASY)
        assert response.model == STRONG
        assert response.routing.is_routed
        assert response.routing.decision is None
        assert response.routing.fallback == (failure.reason or failure.code.name)
    service.failure = None
    assert face.create(MODEL, EASY).routing.fallback is None


def test_a_mistake_has_no_fallback(make_face: MakeFace, endpoints: Endpoints, service: FakeService) -> None:
    service.failure = NotFoundError("there is no router", reason="ROUTER_NOT_FOUND")
    with pytest.raises(NotFoundError):
        make_face(endpoints=endpoints, fallback_model=STRONG).create(MODEL)


def test_a_fallback_fails_over_too(make_face: MakeFace, endpoints: Endpoints, service: FakeService) -> None:
    service.failure = UnavailableError("down")
    face = make_face(endpoints=endpoints, fallback_model=STRONG, failover=True, max_retries=0)
    headers = {"x-echo-fault": "status=500"}
    response = None
    with pytest.raises(Exception, match="500") as caught:
        response = face.create(MODEL, HARD, extra_headers=headers)
    assert response is None
    assert caught.value.__notes__ == ["model 'big' was tried before and failed too (500)"]


def test_a_restarted_service_is_found_again(make_face: MakeFace, endpoints: Endpoints, service: FakeService) -> None:
    with fake_server(service) as target:
        face = make_face(service=target, endpoints=endpoints, fallback_model=STRONG)
        assert face.create(MODEL, EASY).model == WEAK
    assert face.create(MODEL, EASY).routing.fallback == "UNAVAILABLE"
    with fake_server(service, address=target):
        for _ in range(100):
            response = face.create(MODEL, EASY)
            if response.routing.fallback is None:
                break
        assert response.model == WEAK


def test_ten_megabytes_of_history_are_no_matter(face: Face, service: FakeService) -> None:
    history = [{"role": "user", "content": "x" * (1 << 20)}, {"role": "assistant", "content": "y" * (1 << 20)}] * 5
    response = face.create(MODEL, messages=[*history, {"role": "user", "content": "prove it"}])
    assert response.model == STRONG
    assert service.calls[0].text == "prove it"


def test_of_ten_megabytes_of_prompt_both_ends_are_routed_on(face: Face, service: FakeService) -> None:
    response = face.create(MODEL, messages=[{"role": "user", "content": "prove it " + "x" * (10 << 20) + " please"}])
    assert response.model == STRONG
    (call,) = service.calls
    assert call.text.startswith("prove it xxx")
    assert call.text.endswith("xxx please")
    assert len(call.text) < 1 << 20


def test_older_messages_are_the_upstreams_to_judge(face: Face, upstream: EchoState) -> None:
    odd = [{"role": "ipython", "content": "4"}, {"role": "assistant", "content": [{"type": "text", "text": None}]}]
    assert face.create(MODEL, messages=[*odd, {"role": "user", "content": "prove it"}]).model == STRONG
    assert upstream.requests[-1].body["messages"][:2] == odd


def test_a_slow_service_is_waited_for_no_longer_than_its_deadline(
    endpoints: Endpoints, scripted: Any, slow: Callable[[Any, Any], Any]
) -> None:
    scripted.on("Decide", slow)
    with (
        RoutingClient(scripted.target, timeout=0.2) as service,
        RoutedOpenAI(service=service, endpoints=endpoints, fallback_model=WEAK) as client,
    ):
        response = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": EASY}])
    assert routing_of(response).fallback == "DEADLINE_EXCEEDED"


def test_a_client_that_is_handed_in_stays_open(target: str, endpoints: Endpoints) -> None:
    with RoutingClient(target) as service:
        with RoutedOpenAI(service=service, endpoints=endpoints) as client:
            assert client.routing_client is service
        assert service.decide(EASY).model == WEAK
