"""The `openai` embedder over a transport of the test's own: retries, limits, the key, and what is never said."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from routing_service.config import parse_config
from routing_service.embedders import openai_call
from routing_service.embedders.registry import Embedders
from routing_service.errors import ConfigError
from tests.support.embedder_wire import KEY, PROMPT, Wire, embedder, failure, good, hang, pass_time

httpx = pytest.importorskip("httpx", reason="the extra `openai` is not installed")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_call, "FIRST_PAUSE_SECONDS", 0.001)


def test_one_text_is_embedded_with_its_tokens() -> None:
    wire = Wire(good)
    with embedder(wire, KEY) as tested:
        result = tested.embed(["abc"])
    assert result.vectors.tolist() == [[3.0, 0.0]]
    assert (result.tokens, result.truncated) == ([3], [False])
    assert wire.headers[0]["authorization"] == f"Bearer {KEY}"
    assert wire.bodies == [{"model": "m", "input": ["abc"], "encoding_format": "base64"}]


def test_without_a_key_none_is_sent() -> None:
    wire = Wire(good)
    with embedder(wire) as tested:
        tested.embed(["abc"])
    assert "authorization" not in wire.headers[0]


def test_many_texts_go_in_requests_of_a_size_and_come_back_in_order() -> None:
    wire = Wire(good)
    with embedder(wire, max_inputs=4) as tested:
        result = tested.embed(["x" * n for n in range(1, 11)])
    assert [row[0] for row in result.vectors.tolist()] == list(range(1, 11))
    assert sorted(len(body["input"]) for body in wire.bodies) == [2, 4, 4]
    assert result.tokens is None


def test_no_more_requests_run_at_a_time_than_allowed() -> None:
    running, most = 0, 0
    full = asyncio.Event()

    async def count(request: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()  # nobody leaves before as many are there as may be
        await asyncio.sleep(0)
        running -= 1
        return good(request)

    with embedder(Wire(count), max_inputs=1, max_parallel_requests=3) as tested:
        threads = [threading.Thread(target=tested.embed, args=(["a", "bb", "ccc"],)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 3


@pytest.mark.parametrize("fault", [429, 500, 503, httpx.ConnectError("x"), httpx.RemoteProtocolError("x")])
def test_what_may_pass_is_tried_again(fault: Any) -> None:
    wire = Wire(fault, fault, good)
    with embedder(wire, breaker_failures=10) as tested:
        assert len(tested.embed(["abc"]).vectors) == 1
    assert len(wire.bodies) == 3


@pytest.mark.parametrize(
    ("fault", "cause"),
    [(500, "http_500"), (429, "http_429"), (httpx.ConnectError(PROMPT), "connection")],
)
def test_attempts_are_few(fault: Any, cause: str) -> None:
    wire = Wire(fault)
    with embedder(wire, max_attempts=3, breaker_failures=10) as tested:
        assert failure(tested).metadata == {"embedder": "e", "cause": cause}
    assert len(wire.bodies) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    wire = Wire(status)
    with embedder(wire, KEY) as tested:
        assert failure(tested).metadata["cause"] == f"http_{status}"
    assert len(wire.bodies) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"data": []}', b'{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}', b"x" * 2_000_000]
)
def test_nonsense_is_not_tried_again(body: bytes) -> None:
    wire = Wire(httpx.Response(200, content=body))
    with embedder(wire) as tested:
        assert failure(tested).metadata["cause"] == "invalid_answer"
    assert len(wire.bodies) == 1


def test_an_answer_of_the_wrong_length_is_refused() -> None:
    with embedder(Wire(good), dimensions=5) as tested:
        assert tested.dimension == 5
        assert failure(tested).metadata["cause"] == "invalid_answer"


def test_requests_that_disagree_on_the_length_are_refused() -> None:
    def by_text(request: Any) -> Any:
        (text,) = json.loads(request.content)["input"]
        return httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0] * len(text)}]})

    with embedder(Wire(by_text), max_inputs=1) as tested:
        assert failure(tested, "a", "bb").metadata["cause"] == "invalid_answer"


def test_an_attempt_that_hangs_is_ended_and_not_tried_again() -> None:
    wire = Wire(hang)
    with embedder(wire, attempt_timeout_seconds=0.05, timeout_seconds=5.0, breaker_failures=1) as tested:
        assert failure(tested).metadata["cause"] == "timeout"
        # It speaks against the endpoint, as running out of the call's own time would not.
        assert failure(tested).metadata["cause"] == "left_alone"
    assert len(wire.bodies) == 1


def test_waiting_for_a_free_connection_counts_towards_the_limit() -> None:
    wire = Wire(hang)
    with embedder(
        wire, max_parallel_requests=1, max_inputs=1, attempt_timeout_seconds=0.1, timeout_seconds=0.1
    ) as tested:
        assert failure(tested, "a", "b", "c").metadata["cause"] == "timeout"
    assert len(wire.bodies) == 1


def test_one_failed_request_does_not_fail_the_others_of_its_call() -> None:
    def some(request: Any) -> Any:
        return httpx.Response(404) if json.loads(request.content)["input"] == ["bad"] else good(request)

    with embedder(Wire(some), max_inputs=1) as tested:
        result = tested.embed(["good", "bad", "better"])
    assert result.vectors[[0, 2], 0].tolist() == [4.0, 6.0]
    assert {place: error.metadata["cause"] for place, error in result.errors.items()} == {1: "http_404"}


def test_a_wait_that_fits_is_honoured() -> None:
    wire = Wire(httpx.Response(429, headers={"Retry-After": "0.05"}), good)
    with embedder(wire) as tested:
        assert len(tested.embed(["abc"]).vectors) == 1
    assert len(wire.bodies) == 2


def test_a_wait_that_does_not_fit_fails_at_once_and_for_everyone() -> None:
    wire = Wire(httpx.Response(429, headers={"Retry-After": "20"}), good)
    with embedder(wire) as tested:
        assert failure(tested).retry_seconds == 20.0
        later = failure(tested)
        assert later.metadata["cause"] == "left_alone"
        assert later.retry_seconds is not None
        assert 15.0 < later.retry_seconds <= 20.0
    assert len(wire.bodies) == 1


def test_a_dead_endpoint_is_soon_left_alone_and_found_again() -> None:
    wire = Wire(*[500] * 4, good)
    with embedder(wire, max_attempts=2, breaker_failures=4, breaker_seconds=60.0) as tested:
        failure(tested)
        failure(tested)
        for _ in range(20):
            assert failure(tested).metadata["cause"] == "left_alone"
        assert len(wire.bodies) == 4
        pass_time(tested, 61.0)
        assert len(tested.embed(["abc"]).vectors) == 1
        assert len(tested.embed(["abc"]).vectors) == 1


@pytest.mark.parametrize(("status", "requests"), [(401, 2), (404, 2), (400, 6), (413, 6), (422, 6)])
def test_a_wrong_key_leaves_it_alone_but_a_disliked_input_does_not(status: int, requests: int) -> None:
    wire = Wire(status)
    with embedder(wire, breaker_failures=2) as tested:
        for _ in range(6):
            failure(tested)
    assert len(wire.bodies) == requests


def test_what_is_accepted_whole_is_not_cut() -> None:
    with embedder(Wire(good), max_tokens=10) as tested:
        result = tested.embed(["x" * 50])
    assert (result.vectors[0, 0], result.truncated) == (50.0, [False])


@pytest.mark.parametrize("fault", [500, 400, httpx.ConnectError(f"{KEY} {PROMPT}"), httpx.Response(200, text=PROMPT)])
def test_neither_the_prompt_nor_the_key_is_ever_said(fault: Any) -> None:
    with structlog.testing.capture_logs() as logs, embedder(Wire(fault), KEY, breaker_failures=2) as tested:
        error = failure(tested)
    assert logs
    for said in (str(error), str(error.metadata), str(logs), repr(tested)):
        assert PROMPT not in said
        assert KEY not in said


def test_opening_and_closing_are_logged_once() -> None:
    with structlog.testing.capture_logs() as logs:
        wire = Wire(500, 500, good)
        with embedder(wire, max_attempts=1, breaker_failures=2, breaker_seconds=60.0) as tested:
            failure(tested)
            failure(tested)
            pass_time(tested, 61.0)
            tested.embed(["abc"])
            tested.embed(["abc"])
    events = [entry["event"] for entry in logs]
    assert events == ["embedder_failed", "embedder_left_alone", "embedder_failed", "embedder_answers_again"]


def test_after_close_it_fails_as_an_embedder_does() -> None:
    with embedder(Wire(good)) as tested:
        tested.embed(["abc"])
        tested.close()
        assert failure(tested).metadata["cause"] == "closed"


def test_close_ends_calls_in_progress() -> None:
    entered, causes = threading.Event(), []

    async def enter(request: Any) -> Any:
        entered.set()
        return await hang(request)

    with embedder(Wire(enter), timeout_seconds=60.0, attempt_timeout_seconds=60.0) as tested:
        thread = threading.Thread(target=lambda: causes.append(failure(tested).metadata["cause"]))
        thread.start()
        assert entered.wait(10)
    thread.join(10)
    assert causes == ["closed"]


def build(text: str) -> Any:
    config = parse_config(f"embedders:\n  e: {text}", "test", Path())
    return Embedders(config).for_section(config.embedders["e"].section)("e")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{type: openai}", "lacks the key 'model'"),
        ("{type: openai, model: ''}", "model must not be empty"),
        ("{type: openai, model: m}", "api_key_env"),
        ("{type: openai, model: m, base_url: 'ftp://x'}", "base_url"),
        ("{type: openai, model: m, base_url: 'http://x:99999/v1'}", "base_url must be like"),
        ("{type: openai, model: m, base_url: 'http://[::1/v1'}", "base_url must be like"),
        ("{type: openai, model: m, base_url: 'http://user:pass@x/v1'}", "must not hold a user"),
        ("{type: openai, model: m, base_url: 'http://x/v1?a=b'}", "base_url"),
        ("{type: openai, model: m, base_url: 'http://x', timeout_seconds: 0}", "timeout_seconds must be from"),
        ("{type: openai, model: m, base_url: 'http://x', timeout_seconds: .nan}", "timeout_seconds must be from"),
        ("{type: openai, model: m, base_url: 'http://x', timeout_seconds: 1}", "attempt_timeout_seconds must be"),
        ("{type: openai, model: m, base_url: 'http://x', max_attempts: 0}", "max_attempts must be from 1"),
        ("{type: openai, model: m, base_url: 'http://x', api_key: sk-1}", "did you mean 'api_key_env'"),
        ("{type: openai, model: m, api_key_env: ROUTING_TEST_KEY}", "ROUTING_TEST_KEY is not set"),
    ],
)
def test_a_wrong_configuration_is_told(options: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTING_TEST_KEY", raising=False)
    with pytest.raises(ConfigError) as caught:
        build(options)
    assert says in str(caught.value)
    assert "test:2" in str(caught.value)


def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTING_TEST_KEY", f" {KEY}\n")
    tested = build("{type: openai, model: m, api_key_env: ROUTING_TEST_KEY}")
    assert tested._remote.endpoint._client.headers["authorization"] == f"Bearer {KEY}"
    tested.close()


@pytest.mark.parametrize("value", ["sk 1", "sk\n1", "schlüssel", "sk\x011"])
def test_what_cannot_be_a_key_is_refused_unquoted(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTING_TEST_KEY", value)
    with pytest.raises(ConfigError, match="ROUTING_TEST_KEY does not hold a key") as caught:
        build("{type: openai, model: m, api_key_env: ROUTING_TEST_KEY}")
    assert value not in str(caught.value)


def test_without_httpx_the_configuration_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(ConfigError, match=r"routing-service\[openai\]"):
        build("{type: openai, model: m, base_url: 'http://x'}")


def test_building_it_calls_nobody() -> None:
    started: Callable[[], int] = threading.active_count
    before = started()
    build("{type: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}").close()
    assert started() == before
