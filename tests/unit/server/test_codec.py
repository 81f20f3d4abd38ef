"""A request's form: what is exactly at a limit is taken, one more is refused, and the error says where."""

from __future__ import annotations

from typing import Any

import pytest
from routing_client.proto import conversation_pb2
from routing_client.proto import routing_service_pb2 as pb

from routing_service.asks.reader import AskReader
from routing_service.config import LimitsConfig
from routing_service.engine.pacing import Pace
from routing_service.errors import DecisionError, Reason
from routing_service.server.codec import item_request, split_batch, to_item_error, to_request

LIMITS = LimitsConfig(max_prompt_bytes=64)
ASKS = AskReader()
USER, ASSISTANT = conversation_pb2.ROLE_USER, conversation_pb2.ROLE_ASSISTANT


def chat(*texts: str) -> Any:
    """A conversation whose newest user message has these parts, before and after messages that are too long."""
    other = [{"text": "y" * 1000}]
    messages = [
        {"role": USER, "content": other},
        {"role": USER, "content": [{"text": text} for text in texts]},
        {"role": ASSISTANT, "content": other},
    ]
    return {"messages": messages}


def refusal(message: pb.DecideRequest) -> DecisionError:
    with pytest.raises(DecisionError) as caught:
        to_request(message, LIMITS, ASKS)
    return caught.value


@pytest.mark.parametrize(
    ("field", "fits", "text", "too_long"),
    [
        ("prompt", {"prompt": "x" * 64}, "x" * 64, {"prompt": "x" * 65}),
        ("prompt", {"prompt": "é" * 32}, "é" * 32, {"prompt": "é" * 32 + "x"}),
        ("prompt", {"prompt": "𝄞" * 16}, "𝄞" * 16, {"prompt": "𝄞" * 16 + "x"}),
        ("conversation", {"conversation": chat("x" * 64)}, "x" * 64, {"conversation": chat("x" * 65)}),
        ("conversation", {"conversation": chat("é" * 32)}, "é" * 32, {"conversation": chat("é" * 32, "")}),
        (  # the parts are joined by a newline
            "conversation",
            {"conversation": chat("x" * 30, "y" * 33)},
            "x" * 30 + "\n" + "y" * 33,
            {"conversation": chat("x" * 31, "y" * 33)},
        ),
    ],
)
def test_a_text_at_the_limit_is_taken_and_one_byte_more_refused(
    field: str, fits: dict[str, Any], text: str, too_long: dict[str, Any]
) -> None:
    assert to_request(pb.DecideRequest(**fits), LIMITS, ASKS).text == text
    error = refusal(pb.DecideRequest(**too_long))
    assert (error.reason, error.field) == (Reason.PROMPT_TOO_LARGE, field)
    assert error.metadata == {"bytes": "65", "limit_bytes": "64"}
    assert "has 65 bytes; this server takes 64" in error.message


@pytest.mark.parametrize("kind", ["prompt", "conversation"])
async def test_an_item_of_a_batch_has_the_same_limit(kind: str) -> None:
    made: list[dict[str, Any]] = [
        {kind: text if kind == "prompt" else chat(text), "request_id": name}
        for name, text in {"fits": "x" * 64, "long": "x" * 65, "small": "x"}.items()
    ]
    raw = pb.BatchDecideRequest(requests=made).SerializeToString()
    (fits, _), (long, name), (small, _) = [await item_request(item, LIMITS, ASKS, Pace()) for item in split_batch(raw)]
    assert not isinstance(fits, DecisionError)
    assert not isinstance(small, DecisionError)
    assert (fits.text, small.text, name) == ("x" * 64, "x", "long")
    assert isinstance(long, DecisionError)
    assert (long.reason, long.field) == (Reason.PROMPT_TOO_LARGE, kind)


@pytest.mark.parametrize("field", ["request_id", "session_id"])
@pytest.mark.parametrize("character", ["x", "é"])
def test_an_id_at_the_limit_is_taken_and_a_longer_one_refused(field: str, character: str) -> None:
    width = len(character.encode())
    request: dict[str, Any] = {"prompt": "hi", field: character * (256 // width)}
    assert to_request(pb.DecideRequest(**request), LIMITS, ASKS).text == "hi"
    request[field] += "x"
    error = refusal(pb.DecideRequest(**request))
    assert (error.reason, error.field, error.metadata) == (Reason.ID_TOO_LONG, field, {"limit_bytes": "256"})


def test_metadata_at_the_limits_is_taken_and_more_refused() -> None:
    full = {str(n): "x" for n in range(31)} | {"k" * 256: "é" * 128}
    to_request(pb.DecideRequest(prompt="hi", metadata=full), LIMITS, ASKS)
    many = refusal(pb.DecideRequest(prompt="hi", metadata={**full, "more": "x"}))
    assert (many.reason, many.field, many.metadata) == (
        Reason.METADATA_TOO_LARGE,
        "metadata",
        {"limit_entries": "32"},
    )
    for long in ({"k" * 257: "v"}, {"k": "é" * 128 + "x"}):
        error = refusal(pb.DecideRequest(prompt="hi", metadata={**long, "fine": "fine"}))
        assert (error.reason, error.metadata) == (Reason.METADATA_TOO_LARGE, {"limit_bytes": "256"})


def test_what_is_set_is_told_from_what_is_zero() -> None:
    bare = to_request(pb.DecideRequest(prompt="hi"), LIMITS, ASKS)
    assert (bare.threshold, bare.strong_share, bare.policy, bare.strong_model, bare.spans) == (None, None, "", "", None)
    given = to_request(
        pb.DecideRequest(prompt="hi", threshold=0.0, models={"strong": "a", "weak": "b"}, router="r", request_id="q"),
        LIMITS,
        ASKS,
    )
    assert (given.threshold, given.strong_model, given.weak_model, given.router) == (0.0, "a", "b", "r")
    assert given.request_id == "q"
    assert to_request(pb.DecideRequest(prompt="hi", strong_share=0.0), LIMITS, ASKS).strong_share == 0.0
    assert to_request(pb.DecideRequest(prompt="hi", policy="cheap"), LIMITS, ASKS).policy == "cheap"


def test_the_spans_are_the_parts_with_text_of_the_routed_message() -> None:
    plain = to_request(pb.DecideRequest(prompt="hé", explain=True), LIMITS, ASKS)
    assert plain.spans == ((0, 0, 0, 3),)
    parts = [{"text": "a"}, {"other": {"kind": "image_url"}}, {"text": "bé"}]
    newer = [{"role": USER, "content": [{"other": {"kind": "tool_result"}}]}]
    messages = [{"role": USER, "content": [{"text": "old"}]}, {"role": USER, "content": parts}, *newer]
    request = to_request(pb.DecideRequest(conversation={"messages": messages}, explain=True), LIMITS, ASKS)
    assert request.spans == ((1, 0, 0, 1), (1, 2, 0, 3))
    assert (request.text, request.skipped_parts) == ("a\nbé", 2)


def test_an_items_error_has_all_of_its_parts() -> None:
    error = DecisionError(Reason.OVERLOADED, "Busy.", "prompt", {"a": "b"}, retry_seconds=1.25)
    message = to_item_error(error)
    assert (message.message, message.field, dict(message.metadata)) == ("Busy.", "prompt", {"a": "b"})
    assert (message.code, message.retry_delay.ToMilliseconds()) == (8, 1250)
    assert not to_item_error(DecisionError(Reason.OVERLOADED, "Busy.")).HasField("retry_delay")
