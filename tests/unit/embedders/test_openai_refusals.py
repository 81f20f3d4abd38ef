"""Texts that an embedding endpoint cannot take: they are cut or refused alone, harm no other, and are no outage."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from routing_service.embedders import openai_call
from routing_service.errors import DecisionError, Reason
from tests.support.embedder_wire import Wire, embedder, failure, good, pass_time

httpx = pytest.importorskip("httpx", reason="the extra `openai` is not installed")

LONG, MEDIUM = "long " * 2000, "some " * 200


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_call, "FIRST_PAUSE_SECONDS", 0.001)


def nan_for_all(request: Any) -> Any:
    texts = json.loads(request.content)["input"]
    body = json.dumps({"data": [{"index": i, "embedding": [float("nan")]} for i in range(len(texts))]})
    return httpx.Response(200, content=body)


# How endpoints refuse: by a status, by an error under a good status, by numbers that are none, or by hanging up.
REFUSALS: dict[str, Callable[[Any], Any]] = {
    "400": lambda _: httpx.Response(400),
    "413": lambda _: httpx.Response(413),
    "422": lambda _: httpx.Response(422),
    "500": lambda _: httpx.Response(500),
    "501": lambda _: httpx.Response(501),
    "502": lambda _: httpx.Response(502),
    "503": lambda _: httpx.Response(503),
    "504": lambda _: httpx.Response(504),
    "an error with 200": lambda _: httpx.Response(200, json={"error": {"message": "too long"}}),
    "not a number": nan_for_all,
    "hangs up": lambda _: httpx.ReadError("peer closed"),
}
refusals = pytest.mark.parametrize("how", REFUSALS)


def reading(limit: int, how: str) -> Wire:
    """An endpoint that takes texts of at most `limit` words."""

    def answer(request: Any) -> Any:
        if any(len(text.split()) > limit for text in json.loads(request.content)["input"]):
            refusal = REFUSALS[how](request)
            if isinstance(refusal, Exception):
                raise refusal
            return refusal
        return good(request)

    return Wire(answer)


@refusals
def test_a_long_text_fails_none_of_its_batch(how: str) -> None:
    with embedder(reading(512, how), breaker_failures=1) as tested:
        result = tested.embed(["short", LONG, "short too"])
        assert result.vectors[[0, 2], 0].tolist() == [5.0, 9.0]
        assert {place: error.reason for place, error in result.errors.items()} == {1: Reason.PROMPT_TOO_LARGE}
        assert result.truncated == [False, False, False]
        # It never counts against the endpoint, however often it comes.
        for _ in range(5):
            tested.embed(["a", LONG, LONG])
        assert tested.embed(["after"]).vectors[0, 0] == 5.0


@refusals
def test_one_of_middling_length_fails_none_either(how: str) -> None:
    """It shares a request with others, which are sent again without it."""
    wire = reading(50, how)
    with embedder(wire, breaker_failures=1) as tested:
        result = tested.embed([*["x"] * 30, MEDIUM, *["y"] * 30])
        assert list(result.errors) == [30]
        assert result.errors[30].reason is Reason.PROMPT_TOO_LARGE
        assert tested.embed(["after"]).vectors[0, 0] == 5.0
    assert len(wire.bodies) < 30  # the others need not go one by one


@refusals
@pytest.mark.parametrize(("max_tokens", "kept"), [(512, 512), (None, len(LONG) // 2)])
def test_it_is_sent_once_more_cut(how: str, max_tokens: int | None, kept: int) -> None:
    """To so many bytes as the model reads tokens, which fit whatever the language, or else to half."""
    wire = reading(1500, how)
    with embedder(wire, max_tokens=max_tokens) as tested:
        result = tested.embed(["short", LONG])
    assert result.vectors[:, 0].tolist() == [5.0, kept]
    assert (result.truncated, result.errors) == ([False, True], {})
    sent = Counter(text for body in wire.bodies for text in body["input"])
    assert sent[LONG[:kept]] == 1


@refusals
def test_a_text_that_the_limit_allows_is_still_cut_when_it_is_refused(how: str) -> None:
    """OpenAI's name, another server's limit."""
    with embedder(reading(150, how), model="text-embedding-3-small") as tested:
        result = tested.embed([MEDIUM])
    assert (result.vectors[0, 0], result.truncated) == (len(MEDIUM) // 2, [True])


@refusals
def test_alone_it_is_an_error_of_the_request(how: str) -> None:
    with embedder(reading(20, how), breaker_failures=1) as tested:
        tested.embed(["the endpoint is well"])
        for _ in range(3):
            with pytest.raises(DecisionError) as caught:
                tested.embed([LONG])
            assert caught.value.reason is Reason.PROMPT_TOO_LARGE
            assert caught.value.metadata["bytes"] == "10000"
            assert "long" not in str(caught.value)


@pytest.mark.parametrize("texts", [[LONG], ["short", LONG], ["short"] * 5, [MEDIUM], [MEDIUM] * 3, [LONG] * 3])
@pytest.mark.parametrize("how", [name for name in REFUSALS if name not in ("400", "413", "422")])
def test_a_real_outage_still_opens_the_breaker(how: str, texts: list[str]) -> None:
    wire = reading(-1, how)
    with embedder(wire, breaker_failures=3, breaker_seconds=600.0) as tested:
        for _ in range(10):
            failure(tested, *texts)
        asked = len(wire.bodies)
        assert failure(tested, *texts).metadata["cause"] == "left_alone"
        assert len(wire.bodies) == asked


def test_an_outage_costs_no_more_requests_than_attempts() -> None:
    wire = reading(-1, "500")
    with embedder(wire, breaker_failures=100, max_attempts=3) as tested:
        failure(tested, *["short"] * 40)
    assert len(wire.bodies) == 3


def test_where_everything_is_refused_a_long_text_is_not_to_blame() -> None:
    """The endpoint does not have the model, say."""
    with embedder(reading(-1, "400")) as tested:
        assert failure(tested, LONG).metadata["cause"] == "http_400"
        result = failure(tested, "short", LONG)
        assert result.metadata["cause"] == "http_400"


def test_what_passes_the_second_time_is_not_cut() -> None:
    wire = Wire(500, good)
    with embedder(wire) as tested:
        result = tested.embed([MEDIUM])
    assert (result.vectors[0, 0], result.truncated) == (len(MEDIUM), [False])


def test_a_batch_that_is_too_large_as_a_whole_is_sent_in_parts() -> None:
    def at_most_eight(request: Any) -> Any:
        return httpx.Response(413) if len(json.loads(request.content)["input"]) > 8 else good(request)

    wire = Wire(at_most_eight)
    with embedder(wire) as tested:
        result = tested.embed(["x" * n for n in range(1, 65)])
    assert result.vectors[:, 0].tolist() == list(range(1, 65))
    assert result.truncated == [False] * 64
    assert len(wire.bodies) == 1 + 2 + 4 + 8


def test_a_text_that_makes_it_hang_fails_alone() -> None:
    async def answer(request: Any) -> Any:
        if any(len(text) > 100 for text in json.loads(request.content)["input"]):
            await asyncio.sleep(60)
        return good(request)

    with embedder(Wire(answer), breaker_failures=1, attempt_timeout_seconds=0.3, timeout_seconds=2.0) as tested:
        result = tested.embed(["short", LONG, "short too"])
        assert result.vectors[[0, 2], 0].tolist() == [5.0, 9.0]
        assert result.errors[1].metadata["cause"] == "timeout"
        assert len(tested.embed(["after"]).vectors) == 1


@pytest.mark.parametrize("how", ["500", "400"])
def test_after_an_outage_a_long_text_that_comes_first_does_not_keep_the_breaker_open(how: str) -> None:
    down = True

    def answer(request: Any) -> Any:
        if down:
            return httpx.Response(500)
        too_long = any(len(text.split()) > 512 for text in json.loads(request.content)["input"])
        return httpx.Response(int(how)) if too_long else good(request)

    with embedder(Wire(answer), breaker_failures=1, breaker_seconds=60.0) as tested:
        failure(tested, "short")
        down = False
        pass_time(tested, 61.0)
        result = tested.embed([LONG, "short"])
        assert result.errors[0].reason is Reason.PROMPT_TOO_LARGE
        assert result.vectors[1, 0] == 5.0
        assert len(tested.embed(["after"]).vectors) == 1
