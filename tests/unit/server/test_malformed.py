"""What is said of bytes that protobuf refuses."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from routing_client.proto import routing_service_pb2 as pb

from routing_service.errors import Reason
from routing_service.server.malformed import explain

BAD = "BAD!"


def spoilt(message: Message) -> bytes:
    """The message's bytes with one text in it replaced by what is not UTF-8."""
    return message.SerializeToString().replace(BAD.encode(), b"\xff\xfe\xc3\x28")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.DecideRequest(prompt=f"good {BAD}"), "prompt"),
        (pb.DecideRequest(prompt="good", models={"weak": BAD}), "models.weak"),
        (
            pb.DecideRequest(
                conversation={"messages": [{"role": 3}, {"role": 3, "content": [{"text": "a"}, {"text": BAD}]}]}
            ),
            "conversation.messages[1].content[1].text",
        ),
        (pb.CalibrateRequest(strong_shares=[0.5], prompts=["a", "b", BAD]), "prompts[2]"),
    ],
)
def test_the_string_that_is_not_utf8_is_named(message: Message, field: str) -> None:
    error = explain(spoilt(message), type(message))
    assert (error.reason, error.field) == (Reason.INVALID_UTF8, field)


@given(raw=st.binary(max_size=60))
def test_any_bytes_that_protobuf_refuses_are_explained(raw: bytes) -> None:
    try:
        pb.DecideRequest.FromString(raw)
    except DecodeError:
        assert explain(raw, pb.DecideRequest).reason in (Reason.MALFORMED_REQUEST, Reason.INVALID_UTF8)


def test_what_has_a_bad_string_after_very_many_others_is_not_searched_to_its_end() -> None:
    raw = b"\x1a\x01a" * 20_000 + b"\x1a\x01\xff"
    assert explain(raw, pb.CalibrateRequest).reason is Reason.MALFORMED_REQUEST
