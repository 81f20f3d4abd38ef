"""What of a prompt or a chat the service is sent."""

from __future__ import annotations

from typing import Any

import pytest
from routing_client import InvalidRequestError
from routing_client._routable import MAX_CHARACTERS, MAX_MESSAGES, MAX_PARTS, routable, smaller
from routing_client.dispatch import Ask, Dispatcher, Send
from routing_client.endpoints import Endpoints
from routing_client.types import Decision, DecisionReason, Tier


def text(content: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def test_a_chat_is_sent_as_it_is() -> None:
    chat: Any = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}, {"type": "input_text", "text": "what?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "4"},
    ]
    assert routable(chat) == [
        text("be brief", "system"),
        {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": []},
        text("4", "tool"),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"role": "assistant", "content": [{"type": "text", "text": None}]},
        {"role": "assistant", "content": [7, None, {}, {"type": 7}]},
        {"role": "tool", "content": {"temperature": 12}},
        {"role": "user", "content": 7},
    ],
)
def test_what_cannot_be_read_is_left_out(odd: Any) -> None:
    assert routable([odd, {"role": "user", "content": "hi"}]) == [{"role": odd["role"], "content": []}, text("hi")]


@pytest.mark.parametrize("odd", [7, None, "hi", {}, {"role": "ipython", "content": "4"}, {"role": 7, "content": "4"}])
def test_what_is_no_message_is_left_out(odd: Any) -> None:
    assert routable([odd, {"role": "user", "content": "hi"}, odd]) == [text("hi")]


def test_a_long_text_is_sent_by_its_ends() -> None:
    sent = routable("a" * MAX_CHARACTERS + "b" * MAX_CHARACTERS)
    assert sent == "a" * (MAX_CHARACTERS // 2) + "b" * (MAX_CHARACTERS // 2)


@pytest.mark.parametrize("behind", [0, 1, 2 * MAX_MESSAGES])
def test_the_newest_ask_is_there_whatever_surrounds_it(behind: int) -> None:
    long = "x" * (MAX_CHARACTERS + 1)
    results = [{"role": "tool", "content": "sunny"}] * behind
    sent = routable([text(long), text(long, "assistant"), text("prove it"), text(long, "tool"), *results])
    assert text("prove it") in sent
    assert len(sent) <= MAX_MESSAGES
    cut: Any = routable([text("old"), text(f"{long} end"), *results[:1]])[0]
    assert cut["content"].endswith(" end")
    assert len(cut["content"]) == MAX_CHARACTERS


def test_blank_messages_are_no_ask() -> None:
    long = "x" * MAX_CHARACTERS
    assert routable([text("prove it"), text("  "), text(long, "tool")])[0] == text("prove it")


def test_many_messages_and_parts_are_bounded() -> None:
    sent = routable([text("hi")] * (3 * MAX_MESSAGES))
    assert sent == [text("hi")] * MAX_MESSAGES
    parts = [{"type": "text", "text": str(index)} for index in range(3 * MAX_PARTS)]
    newest: Any = routable([text("old"), {"role": "user", "content": parts}])[-1]
    assert newest["content"] == parts[-MAX_PARTS:]


@pytest.mark.parametrize("count", [MAX_PARTS, 3 * MAX_PARTS])
def test_many_parts_behind_the_ask_do_not_hide_it(count: int) -> None:
    results = {"role": "tool", "content": [{"type": "text", "text": "4"}] * count}
    ask = {"role": "user", "content": [{"type": "text", "text": "prove"}, {"type": "text", "text": "it"}]}
    assert routable([ask, results])[0] == text("prove\nit")


def refusal(limit: str) -> InvalidRequestError:
    return InvalidRequestError("too large", reason="PROMPT_TOO_LARGE", metadata={"limit_bytes": limit})


def test_the_services_own_limit_is_kept() -> None:
    assert smaller("ab" * 100, refusal("40")) == "ababa" + "babab"
    assert smaller([text("ab" * 100)], refusal("40")) == [text("ababa" + "babab")]
    assert smaller("ab", refusal("40")) is None, "that cannot be the reason"
    assert smaller("ab" * 100, refusal("x")) is None
    assert smaller("ab" * 100, InvalidRequestError("no")) is None


def test_a_prompt_that_the_service_finds_too_large_is_asked_about_again_cut() -> None:
    flow = Dispatcher(Endpoints(), lambda _: None).dispatch("router-mf-0.5", lambda: "ab" * 100)
    assert isinstance(next(flow), Ask)
    again = flow.throw(refusal("40"))
    assert isinstance(again, Ask)
    assert again.arguments["prompt"] == "ababababab"
    send = flow.send(Decision("big", Tier.STRONG, DecisionReason.THRESHOLD))
    assert isinstance(send, Send)
    assert send.routing.model == "big"


def test_refused_again_it_is_an_error() -> None:
    flow = Dispatcher(Endpoints(), lambda _: None).dispatch("router-mf-0.5", lambda: "ab" * 100)
    next(flow)
    flow.throw(refusal("40"))
    with pytest.raises(InvalidRequestError):
        flow.throw(refusal("40"))
