"""Counting what a request has in its bytes: exactly at the limit, over all items, and whatever the bytes are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given, settings
from hypothesis import strategies as st
from routing_client.proto import routing_service_pb2 as pb

from routing_service.config import LimitsConfig
from routing_service.errors import DecisionError, Reason
from routing_service.server import counts
from routing_service.server.counts import RequestCounts, max_fields

ROOMY = {"max_batch_items": 1, "max_messages": 1, "max_parts": 1}  # so that nothing is too small to be counted


def conversation(*parts_of_messages: int) -> dict[str, Any]:
    """A conversation whose messages have so many parts each."""
    return {"messages": [{"role": 3, "content": [{"text": "x"}] * parts} for parts in parts_of_messages]}


def check(message: Message | bytes, kind: type[Message] | None = None, **limits: int) -> None:
    raw = message if isinstance(message, bytes) else message.SerializeToString()
    tested = RequestCounts(LimitsConfig(**{"max_batch_items": 1000, **limits}))
    asyncio.run(tested.admit(raw, kind or type(message)))  # type: ignore[arg-type]


def refusal(message: Message | bytes, kind: type[Message] | None = None, **limits: int) -> DecisionError:
    with pytest.raises(DecisionError) as caught:
        check(message, kind, **limits)
    return caught.value


PADDING = "x" * 100


@pytest.mark.parametrize(
    ("message", "limit", "entries", "field", "reason"),
    [
        (pb.DecideRequest(conversation=conversation(*[1] * 50)), "max_messages", 50, "conversation.messages", None),
        (
            pb.DecideRequest(conversation=conversation(30, 0, 20)),
            "max_parts",
            50,
            "conversation.messages.content",
            None,
        ),
        (pb.BatchDecideRequest(requests=[{"prompt": "x"}] * 50), "max_batch_items", 50, "requests", "BATCH_TOO_LARGE"),
        (
            pb.BatchDecideRequest(requests=[{"conversation": conversation(1, 1)}] * 25),
            "max_messages",
            50,
            "requests.conversation.messages",
            None,
        ),
        (
            pb.BatchDecideRequest(requests=[{"conversation": conversation(2)}] * 25),
            "max_parts",
            50,
            "requests.conversation.messages.content",
            None,
        ),
        (pb.CalibrateRequest(prompts=["x"] * 50), "max_messages", 50, "prompts", None),
        (pb.CalibrateRequest(strong_shares=[0.5] * 50), "max_batch_items", 50, "strong_shares", "BATCH_TOO_LARGE"),
    ],
)
def test_as_many_as_the_limit_pass_and_one_more_is_refused(
    message: Message, limit: str, entries: int, field: str, reason: str | None
) -> None:
    check(message, None, **{limit: entries})
    error = refusal(message, None, **{limit: entries - 1})
    assert error.reason == (reason or "REQUEST_TOO_LARGE")
    assert error.field == field
    assert f"{entries - 1:,}" in error.message
    assert str(entries - 1) in error.metadata.values()


def test_what_comes_in_several_pieces_is_counted_together() -> None:
    """Protobuf merges messages and appends lists that come again."""
    raw = pb.DecideRequest(conversation=conversation(1, 1)).SerializeToString() * 25
    assert refusal(raw, pb.DecideRequest, max_messages=49).field == "conversation.messages"
    shares = b"\x11" + b"\0" * 8  # not packed
    assert refusal(shares * 50, pb.CalibrateRequest, max_batch_items=49).field == "strong_shares"


@pytest.mark.parametrize(
    "field",
    [b"\x78\x01", b"\xf8\x07\x01", b"\x0a\x00", b"\x21" + b"\0" * 8, b"\x3a\x00", b"\x7d\0\0\0\0", b"\x7a\x00"],
    ids=["unknown", "unknown, long tag", "prompt", "threshold", "models", "unknown 32 bits", "unknown bytes"],
)
def test_fields_without_a_limit_of_their_own_have_one_in_all(field: bytes) -> None:
    limit = max_fields(LimitsConfig())
    check(field * limit, pb.DecideRequest, max_batch_items=1024)
    error = refusal(field * (limit + 1), pb.DecideRequest, max_batch_items=1024)
    assert (error.reason, error.field) == (Reason.REQUEST_TOO_LARGE, "")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0b\x0c" * 50,  # a group, in which anything could hide
        b"\x0e" * 100,  # no wire type
        b"\x0a\x7f" + b"x" * 100,  # longer than the message
        b"\xff" * 100,  # a number without end
        b"\x08" + b"\xff" * 100,
        b"\x12\x64\x0a\x7f" + b"x" * 100,  # a message that is longer than the one around it
    ],
)
def test_what_cannot_be_told_apart_is_malformed(raw: bytes) -> None:
    assert refusal(raw, pb.DecideRequest, **ROOMY).reason is Reason.MALFORMED_REQUEST


def test_a_small_request_is_not_looked_at() -> None:
    check(b"\x0b" * 10, pb.DecideRequest)


async def test_others_have_turns_while_a_long_request_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "FIELDS_A_TURN", 10)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(count_turns())
    raw = pb.DecideRequest(conversation=conversation(*[1] * 50)).SerializeToString()
    await RequestCounts(LimitsConfig(max_messages=50)).admit(raw, pb.DecideRequest)
    others.cancel()
    assert turns >= 4 * 50 // 10


messages = st.lists(st.lists(st.text("aé", max_size=5), max_size=4), max_size=6).map(
    lambda each: {"messages": [{"role": 3, "content": [{"text": text} for text in parts]} for parts in each]}
)
requests = st.builds(
    lambda conversation, router: pb.DecideRequest(conversation=conversation, router=router), messages, st.text("ab")
)
kinds: Any = st.one_of(
    requests,
    st.lists(requests, max_size=4).map(lambda each: pb.BatchDecideRequest(requests=each)),
    st.builds(pb.CalibrateRequest, prompts=st.lists(st.text("ab")), strong_shares=st.lists(st.floats(0, 1))),
)


@given(
    message=kinds, edits=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3), limit=st.integers(1, 9)
)
@example(message=pb.DecideRequest(prompt="\x0b" * 20), edits=[], limit=1)
@settings(max_examples=600)
def test_what_passes_has_no_more_than_it_may(message: Message, edits: list[tuple[int, int]], limit: int) -> None:
    """Whatever the bytes: if protobuf takes them, what it then has is what was counted."""
    raw = bytearray(message.SerializeToString())
    for place, byte in edits:
        if raw:
            raw[place % len(raw)] = byte
    limits = LimitsConfig(max_batch_items=limit, max_messages=limit, max_parts=limit)
    try:
        parsed = type(message).FromString(bytes(raw))
    except DecodeError:
        return
    entries = counted(parsed)
    told: Reason | None = None
    try:
        asyncio.run(RequestCounts(limits).admit(bytes(raw), type(message)))
    except DecisionError as error:
        told = error.reason
    fits = all(number <= limit for number in entries.values())
    assert fits if told is None else (not fits or edits or told is Reason.MALFORMED_REQUEST)


def counted(message: Message) -> dict[str, int]:
    """How many entries each repeated field has in all, by its name."""
    found: dict[str, int] = {}
    for field, value in message.ListFields():
        many = not isinstance(value, (str, bytes, int, float, Message))
        for item in value if many else [value]:
            if isinstance(item, Message):
                for name, number in counted(item).items():
                    found[name] = found.get(name, 0) + number
        if many:
            found[field.full_name] = found.get(field.full_name, 0) + len(value)
    return found
