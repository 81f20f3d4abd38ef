"""The decision service is down, slow, overloaded, or restarted under load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from routing_client import Decision, DecisionReason, OverloadedError, RouterFailedError, Tier
from routing_client.testing import FakeService, fake_server
from routing_gateway.echo import RunningEcho

from .conftest import MakeGateway

NOWHERE = "127.0.0.1:1"
FALLBACK = {"fallback_model": "big"}


def test_without_a_fallback_an_outage_is_an_error(make_gateway: MakeGateway, echo: RunningEcho) -> None:
    answer = make_gateway(service=NOWHERE).chat()
    assert (answer.status, answer.error["type"], answer.error["code"]) == (503, "server_error", "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert not echo.state.requests


@pytest.mark.parametrize("model", ["router-fake-0.5", "router-fake-50pct", "router-cheap"])
def test_the_fallback_answers_and_is_marked(make_gateway: MakeGateway, model: str) -> None:
    answer = make_gateway(service=NOWHERE, **FALLBACK).chat(model)
    assert (answer.status, answer.json()["model"]) == (200, "big")
    shown = {name: value for name, value in answer.headers.items() if name.startswith("x-routing-")}
    assert shown == {"x-routing-model": "big", "x-routing-fallback": "UNAVAILABLE"}


def test_streams_are_marked_too(make_gateway: MakeGateway) -> None:
    answer = make_gateway(service=NOWHERE, **FALLBACK).chat(stream=True)
    assert answer.headers["x-routing-fallback"] == "UNAVAILABLE"
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_plain_models_do_not_need_the_service(make_gateway: MakeGateway) -> None:
    assert make_gateway(service=NOWHERE).chat("small").json()["model"] == "small"


@pytest.fixture
def stuck() -> Iterator[str]:
    """A service that takes questions and answers none while the test lasts."""
    over = threading.Event()

    def never(_text: str) -> float:
        over.wait()
        return 0.5

    with fake_server(FakeService(never)) as address:
        yield address
        over.set()


@pytest.mark.parametrize(("fallback", "status"), [({}, 504), (FALLBACK, 200)])
def test_a_slow_service_is_waited_for_no_longer_than_the_deadline(
    make_gateway: MakeGateway, stuck: str, fallback: Any, status: int
) -> None:
    gateway = make_gateway({"decision_timeout_s": 0.2}, service=stuck, **fallback)
    # More at once than the fake has threads: none waits for the others' deadlines.
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: gateway.chat(), range(16)))
    assert {answer.status for answer in answers} == {status}
    if fallback:
        assert {answer.headers["x-routing-fallback"] for answer in answers} == {"DEADLINE_EXCEEDED"}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(OverloadedError("busy"), 429, "rate_limit_error"), (RouterFailedError("x"), 500, "server_error")],
)
def test_other_outages(make_gateway: MakeGateway, fake: FakeService, error: Any, status: int, kind: str) -> None:
    fake.failure = error
    answer = make_gateway().chat()
    assert (answer.status, answer.error["type"]) == (status, kind)
    assert make_gateway(**FALLBACK).chat().headers["x-routing-fallback"] == error.code.name


def test_the_services_own_fallback_is_marked(make_gateway: MakeGateway, fake: FakeService) -> None:
    fake.then(Decision("big", Tier.STRONG, DecisionReason.FALLBACK, router="fake", fallback_reason="ROUTER_FAILED"))
    answer = make_gateway().chat()
    assert answer.headers["x-routing-fallback"] == "ROUTER_FAILED"
    assert answer.headers["x-routing-tier"] == "strong"
    assert "x-routing-win-rate" not in answer.headers


def test_images_alone_are_answered_by_the_fallback(make_gateway: MakeGateway) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    messages = [{"role": "user", "content": image}]
    assert make_gateway().chat(messages=messages).error["code"] == "no_user_turn"
    answer = make_gateway(**FALLBACK).chat(messages=messages)
    assert (answer.status, answer.headers["x-routing-fallback"]) == (200, "NO_USER_TURN")


def test_a_mistake_in_the_request_is_no_outage(make_gateway: MakeGateway) -> None:
    assert make_gateway(**FALLBACK).chat("router-fake-0.5", "").status in {200, 400}
    assert make_gateway(**FALLBACK).chat("router-nowhere").status == 404


def test_a_restart_under_load_is_seen_by_nobody(
    make_gateway: MakeGateway, fake: FakeService, eventually: Callable[..., None]
) -> None:
    with ExitStack() as first:
        address = first.enter_context(fake_server(fake))
        gateway = make_gateway(service=address, **FALLBACK)
        stop = threading.Event()
        marks: list[str | None] = []

        def load() -> None:
            while not stop.is_set():
                answer = gateway.chat(text="easy")
                assert (answer.status, answer.json()["object"]) == (200, "chat.completion")
                assert answer.json()["model"] == answer.headers["x-routing-model"]
                marks.append(answer.headers.get("x-routing-fallback"))

        with ThreadPoolExecutor(4) as pool:
            callers = [pool.submit(load) for _ in range(4)]
            try:
                eventually(lambda: len(marks) > 50, "decisions flow")
                assert set(marks) == {None}
                first.close()
                eventually(lambda: marks[-1] is not None, "the outage is noticed")
                seen = len(marks)
                eventually(lambda: len(marks) > seen + 50, "requests are answered meanwhile")
                with fake_server(fake, address=address):
                    eventually(lambda: marks[-1] is None, "the service is found again")
                    seen = len(marks)
                    eventually(lambda: len(marks) > seen + 50, "decisions flow again")
                    stop.set()
                    for caller in callers:
                        caller.result()
            finally:
                stop.set()
    assert set(marks[seen:]) == {None}
