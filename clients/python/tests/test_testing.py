"""The fakes behave as the clients do: each test runs on the fake in memory and on a client of the fake server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from routing_client import (
    Asked,
    Candidate,
    Decision,
    DecisionReason,
    DecisionRequest,
    Explanation,
    Influence,
    InvalidRequestError,
    Messages,
    ModelPair,
    NotFoundError,
    NotImplementedByServerError,
    OverloadedError,
    Requirements,
    RoutingClient,
    RoutingError,
    ScoreSource,
    Span,
    Tier,
    Timing,
    UnavailableError,
)
from routing_client.testing import AsyncFakeRoutingClient, FakeCall, FakeRoutingClient, FakeService, fake_server

MakeFaked = Callable[..., tuple[RoutingClient, FakeService]]


@pytest.fixture(params=["memory", "server"])
def faked(request: pytest.FixtureRequest) -> Iterator[MakeFaked]:
    """Makes (client, service) by the fake's arguments."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> tuple[RoutingClient, FakeService]:
            service = FakeService(*args, **kwargs)
            if request.param == "memory":
                return FakeRoutingClient(service=service), service
            return stack.enter_context(RoutingClient(stack.enter_context(fake_server(service)))), service

        yield make


def test_rules_decide(faked: MakeFaked) -> None:
    client, _ = faked({"hard": 0.9}, default=0.2)
    hard, easy = client.decide("a hard one"), client.decide("an easy one")
    assert (hard.model, hard.strong_win_rate, hard.tier) == ("strong-model", 0.9, Tier.STRONG)
    assert (easy.model, easy.strong_win_rate, easy.tier) == ("weak-model", 0.2, Tier.WEAK)


def test_a_function_decides(faked: MakeFaked) -> None:
    client, _ = faked(lambda text: len(text) / 10)
    assert client.decide("12345678").strong_win_rate == 0.8


def test_threshold_share_policy_and_models_apply(faked: MakeFaked) -> None:
    client, _ = faked(default=0.5, policies={"cheap": 0.9})
    assert client.decide("p", threshold=0.5).is_strong
    assert not client.decide("p", threshold=0.51).is_strong
    assert not client.decide("p", policy="cheap").is_strong
    assert client.decide("p", strong_share=1).is_strong
    assert client.decide("p", models=("big", "small")).model == "big"
    assert client.routers().policies[0].threshold == 0.9


def test_a_chat_is_routed_on_its_newest_user_text(faked: MakeFaked) -> None:
    client, service = faked({"hard": 0.9}, default=0.2)
    chat: Messages = [
        {"role": "user", "content": "easy"},
        {"role": "user", "content": [{"type": "text", "text": "hard"}, {"type": "text", "text": "one"}]},
        {"role": "assistant", "content": "easy"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
    ]
    assert client.decide(chat).is_strong
    assert service.calls[0].text == "hard\none"


def test_a_decision_says_what_was_read_of_it(faked: MakeFaked) -> None:
    client, _ = faked(policies={"cheap": 0.9})
    decision = client.decide("Qué", policy="cheap", explain=True)
    assert (decision.source, decision.policy, decision.generation) == (ScoreSource.FRESH, "cheap", 1)
    assert (decision.asked, decision.explanation) == (Asked(4), Explanation((Span(0, 0, 0, 4),)))
    chat: Messages = [{"role": "system", "content": "s"}, {"role": "user", "content": ["", "Qué"]}]
    assert client.decide(chat, explain=True).explanation == Explanation((Span(1, 1, 0, 4),))
    assert client.decide(chat).explanation is None


def test_calls_are_recorded(faked: MakeFaked) -> None:
    client, service = faked()
    client.decide("p", router="r", threshold=0.3, models=("big", ""), session_id="s", request_id="q")
    client.decide_batch(["a", DecisionRequest("b", policy="none")])
    assert service.calls[0] == FakeCall("Decide", "p", "r", 0.3, None, "", ModelPair("big", ""), "s", "q")
    assert [(call.method, call.text) for call in service.calls[1:]] == [("BatchDecide", "a"), ("BatchDecide", "b")]


WRONG: list[tuple[Any, dict[str, Any], type[RoutingError], str]] = [
    ("", {}, InvalidRequestError, "PROMPT_EMPTY"),
    (" \n", {}, InvalidRequestError, "PROMPT_EMPTY"),
    ([], {}, InvalidRequestError, "NO_USER_TURN"),
    ("p", {"requirements": Requirements(vision=True)}, NotImplementedByServerError, "FIELD_NOT_IMPLEMENTED"),
    ("p", {"threshold": 1.1}, InvalidRequestError, "THRESHOLD_OUT_OF_RANGE"),
    ("p", {"threshold": float("nan")}, InvalidRequestError, "THRESHOLD_OUT_OF_RANGE"),
    ("p", {"strong_share": -0.1}, InvalidRequestError, "STRONG_SHARE_OUT_OF_RANGE"),
    ("p", {"threshold": 0.5, "strong_share": 0.5}, InvalidRequestError, "POLICY_AMBIGUOUS"),
    ("p", {"policy": "cheep"}, NotFoundError, "POLICY_NOT_FOUND"),
]


@pytest.mark.parametrize(("prompt", "settings", "error", "reason"), WRONG)
def test_mistakes_are_found(
    prompt: Any, settings: dict[str, Any], error: type[RoutingError], reason: str, faked: MakeFaked
) -> None:
    client, _ = faked()
    with pytest.raises(error) as caught:
        client.decide(prompt, **settings)
    assert caught.value.reason == reason
    [item] = client.decide_batch([DecisionRequest(prompt, **settings)])
    assert isinstance(item, RoutingError)
    # An item's error has one field, which its message describes.
    own, items = ({**vars(each), "field_violations": each.field} for each in (caught.value, item))
    assert (type(item), items) == (error, own)


def test_a_script_goes_before_the_rules(faked: MakeFaked) -> None:
    client, service = faked(default=0.2)
    whole = Decision(
        model="big",
        tier=Tier.STRONG,
        reason=DecisionReason.FALLBACK,
        router="r",
        router_revision="1",
        decision_id="d",
        fallback_reason="ROUTER_FAILED",
        candidates=(Candidate("big", 0.9, 0.8, 0.02), Candidate("mid", None, None, None, ("VISION", "JSON"))),
        prompt_tokens=3,
        truncated=True,
        skipped_parts=2,
        timing=Timing(1, 2, 3, 4),
        request_id="q",
        source=ScoreSource.CACHED,
        policy="cheap",
        generation=3,
        asked=Asked(9, "0f" * 32),
        explanation=Explanation((Span(2, 0, 0, 9),), "cooking", (Influence("length", -0.25),)),
        signal=0.75,
        propensity=0.02,
        rung=1,
        turn=2,
        switched=True,
        identity="batch-jobs",
        rule="titles",
    )
    service.then(0.8, whole, OverloadedError("busy", reason="OVERLOADED"))
    assert client.decide("p").strong_win_rate == 0.8
    assert client.decide("p") == whole
    with pytest.raises(OverloadedError, match="busy"):
        client.decide("p")
    assert client.decide("p").strong_win_rate == 0.2


def test_a_failure_lasts_until_it_is_lifted(faked: MakeFaked) -> None:
    client, service = faked()
    service.failure = UnavailableError("down")
    for call in (lambda: client.decide("p"), lambda: client.decide_batch(["p"]), client.routers):
        with pytest.raises(UnavailableError, match="down"):
            call()
    service.failure = None
    assert client.decide("p").reason is DecisionReason.THRESHOLD


def test_calibration(faked: MakeFaked) -> None:
    client, _ = faked(lambda text: int(text) / 10)
    made = client.calibrate([str(number) for number in range(10)], strong_shares=[0.3, 0, 1])
    assert [point.threshold for point in made.points] == [0.7, 1.0, 0.0]
    assert [point.realized_share for point in made.points] == [0.3, 0.0, 1.0]
    assert client.calibrate(strong_shares=[0.25]).points[0].threshold == 0.75
    chats = [[{"role": "user", "content": str(number)}] for number in range(5)]
    mixed = client.calibrate([*chats, *"56789"], strong_shares=[0.3])
    assert (mixed.sample_size, mixed.points[0].threshold) == (10, 0.7)


def test_a_fake_survives_outages_as_the_client_does() -> None:
    fake = FakeRoutingClient(on_unavailable="strong", models=("big", "small"))
    fake.failure = UnavailableError("down")
    decision = fake.decide("p")
    assert (decision.model, decision.reason) == ("big", DecisionReason.UNAVAILABLE)
    assert fake.failure is not None
    fake.failure = None
    fake.then(0.1)
    assert fake.decide("p").strong_win_rate == 0.1
    assert fake.calls[-1].text == "p"
    fake.close()
    with pytest.raises(RuntimeError, match="closed"):
        fake.decide("p")


async def test_the_async_fake() -> None:
    async with AsyncFakeRoutingClient({"hard": 0.9}, default=0.2) as fake:
        hard, easy = await asyncio.gather(fake.decide("hard"), fake.decide("easy"))
        assert (hard.is_strong, easy.is_strong) == (True, False)
        assert [type(each) for each in await fake.decide_batch(["a", ""])] == [Decision, InvalidRequestError]
        assert (await fake.calibrate(["a", "b"], strong_shares=[0.5])).sample_size == 2
        assert (await fake.routers())["fake"].is_default
        fake.then(OverloadedError("busy"))
        with pytest.raises(OverloadedError):
            await fake.decide("p")
    with pytest.raises(RuntimeError, match="closed"):
        await fake.decide("p")


def test_fakes_are_clients_to_the_type_checker() -> None:
    def route(client: RoutingClient) -> str:
        return client.decide("p").model

    assert route(FakeRoutingClient(default=0.9)) == "strong-model"
