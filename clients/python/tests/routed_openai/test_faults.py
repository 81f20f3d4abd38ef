"""Upstreams that fail, with and without another model to turn to."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import openai
import pytest
from routing_client import UnavailableError
from routing_client.endpoints import Endpoint, Endpoints
from routing_client.testing import FakeService
from routing_gateway.echo import EchoState

from .conftest import HARD, STRONG, WEAK, MakeFace

MODEL = "router-fake-0.5"


def broken(endpoints: Endpoints, fault: str, **changes: Any) -> Endpoints:
    """The endpoints, with a fault of the strong one."""
    strong = replace(endpoints[STRONG], headers={"x-echo-fault": fault})
    return replace(endpoints, models={**endpoints, STRONG: strong}, **changes)


@pytest.mark.parametrize(
    ("fault", "error", "why"),
    [
        ("status=429", openai.RateLimitError, "429"),
        ("status=500", openai.InternalServerError, "500"),
        ("status=503", openai.InternalServerError, "503"),
        ("status=408", openai.APIStatusError, "408"),
        ("hang", openai.APITimeoutError, "timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_another_model_may_answer(
    make_face: MakeFace, endpoints: Endpoints, fault: str, error: type[Exception], why: str, stream: bool
) -> None:
    sound = broken(endpoints, fault)
    with pytest.raises(error):
        make_face(endpoints=sound, max_retries=0, timeout=0.5).create(MODEL, HARD, stream=stream)
    face = make_face(endpoints=sound, failover=True, max_retries=0, timeout=0.5)
    response = face.create(MODEL, HARD, stream=stream)
    assert response.routing.model == WEAK
    assert response.routing.decision.is_strong
    assert (response.routing.failed_over_from, response.routing.failover_reason) == (STRONG, why)
    if stream:
        assert {chunk.model for chunk in face.chunks(response)} == {WEAK}
    else:
        assert response.model == WEAK
    assert set(face.client.costs.models) == {WEAK}


@pytest.mark.parametrize(("fault", "error"), [("status=401", 401), ("status=400", 400), ("status=404", 404)])
def test_the_callers_mistakes_do_not_fail_over(
    make_face: MakeFace, endpoints: Endpoints, upstream: EchoState, fault: str, error: int
) -> None:
    face = make_face(endpoints=broken(endpoints, fault, failover=True), max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        face.create(MODEL, HARD)
    assert caught.value.status_code == error
    assert len(upstream.requests) == 1


def test_a_refused_connection_fails_over(make_face: MakeFace, endpoints: Endpoints) -> None:
    gone = replace(endpoints, models={**endpoints, STRONG: Endpoint("http://127.0.0.1:9/v1")}, failover=True)
    response = make_face(endpoints=gone, max_retries=0).create(MODEL, HARD)
    assert (response.model, response.routing.failover_reason) == (WEAK, "connection")


def test_attempts_do_not_multiply(make_face: MakeFace, endpoints: Endpoints, upstream: EchoState) -> None:
    upstream.fault = "status=500,retry-after=0.001"
    face = make_face(endpoints=endpoints, failover=True, max_retries=2)
    with pytest.raises(openai.InternalServerError) as caught:
        face.create(MODEL, HARD)
    assert [each.body["model"] for each in upstream.requests] == ["up-big", WEAK, WEAK, WEAK]
    assert caught.value.__notes__ == ["model 'big' was tried before and failed too (500)"]
    assert face.client.costs.total.calls == 0


def test_without_failover_the_sdk_retries(make_face: MakeFace, endpoints: Endpoints, upstream: EchoState) -> None:
    upstream.fault = "status=500,retry-after=0.001"
    face = make_face(endpoints=endpoints, max_retries=1)
    with pytest.raises(openai.InternalServerError):
        face.create(MODEL, HARD)
    assert len(upstream.requests) == 2
    with pytest.raises(openai.InternalServerError):
        face.run(lambda client: client.with_options(max_retries=0).embeddings.create(model=WEAK, input="x"))
    assert len(upstream.requests) == 3


def test_the_other_model_is_found_at_the_service(make_face: MakeFace, endpoints: Endpoints) -> None:
    unnamed = broken(endpoints, "status=500", strong_model=None, weak_model=None, failover=True)
    assert make_face(endpoints=unnamed, max_retries=0).create(MODEL, HARD).model == WEAK


def test_a_stream_that_breaks_is_raised(make_face: MakeFace, endpoints: Endpoints, upstream: EchoState) -> None:
    face = make_face(endpoints=broken(endpoints, "broken=3", failover=True), max_retries=2)
    stream = face.create(MODEL, HARD, stream=True)
    with pytest.raises(openai.APIConnectionError):
        face.chunks(stream)
    assert stream.routing.failed_over_from is None
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("fault", ["bad-event=2", "error-event=2"])
def test_a_stream_with_a_bad_event_is_raised(make_face: MakeFace, endpoints: Endpoints, fault: str) -> None:
    face = make_face(endpoints=broken(endpoints, fault), max_retries=0)
    with pytest.raises(openai.APIError, match=r"not JSON|mid-stream"):
        face.chunks(face.create(MODEL, HARD, stream=True))


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_of_html_is_an_error(make_face: MakeFace, endpoints: Endpoints, stream: bool) -> None:
    face = make_face(endpoints=broken(endpoints, "not-json"), max_retries=0)
    with pytest.raises(openai.APIError, match="not JSON"):  # noqa: PT012 (a stream finds out when it is read)
        response = face.create(MODEL, HARD, stream=stream)
        face.chunks(response)
    assert face.client.costs.total.input_tokens == 0


def test_a_truncated_body_is_an_error(make_face: MakeFace, endpoints: Endpoints) -> None:
    face = make_face(endpoints=broken(endpoints, "broken=1"), max_retries=0)
    with pytest.raises(openai.APIError):
        face.create(MODEL, HARD)


def test_logs_hold_no_prompt_and_no_key(
    make_face: MakeFace, endpoints: Endpoints, caplog: pytest.LogCaptureFixture, service: FakeService
) -> None:
    # At this level, some versions of the SDK log whole requests themselves, when told to.
    caplog.set_level(logging.DEBUG, "routing_client")
    face = make_face(endpoints=broken(endpoints, "status=500", failover=True, fallback_model=WEAK), max_retries=0)
    face.create(MODEL, "prove my-secret-prompt")
    service.failure = UnavailableError("down")
    face.create(MODEL, "prove my-secret-prompt")
    with pytest.raises(openai.InternalServerError) as caught:
        face.create(STRONG, "my-secret-prompt")
    assert "'big' failed (500); 'small' is tried instead" in caplog.text
    assert "(UNAVAILABLE); the fallback model 'small' answers" in caplog.text
    for secret in ("my-secret-prompt", "sk-big", "sk-small"):
        for text in (caplog.text, repr(face.client.endpoints), repr(face.client._shared), repr(caught.value)):
            assert secret not in text
