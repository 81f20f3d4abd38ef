from __future__ import annotations

import math
import pickle
import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_client import DecisionRequest, InvalidRequestError, ModelPair, Requirements
from routing_client._requests import decide_request, well_formed
from routing_client.proto import conversation_pb2 as wire

SECRET = "the quick brown secret"

any_text = st.text(st.characters())  # lone surrogates too
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
text_parts = st.builds(lambda text: {"type": "text", "text": text}, any_text)
other_parts = st.sampled_from(
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + SECRET}},
        {"type": "input_audio", "input_audio": {"data": SECRET, "format": "wav"}},
        {"type": "file", "file": {"file_data": SECRET}},
        {"type": "tool_result", "content": SECRET},
        {"type": "image", "source": {"data": SECRET.encode()}},
    ]
)
contents = st.one_of(st.none(), any_text, st.lists(st.one_of(text_parts, other_parts), max_size=4))
chats = st.lists(st.fixed_dictionaries({"role": roles, "content": contents}), max_size=5)


@given(any_text)
def test_any_string_is_a_prompt(text: str) -> None:
    message = decide_request(DecisionRequest(text))
    assert message.HasField("prompt")
    assert not message.HasField("conversation")
    assert message.FromString(message.SerializeToString()).prompt == well_formed(text)


@given(any_text)
def test_only_lone_surrogates_are_replaced(text: str) -> None:
    repaired = well_formed(text)
    repaired.encode()
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert repaired == text


def test_halves_of_an_emoji_are_joined_and_lone_halves_replaced() -> None:
    assert well_formed("a\ud83d\ude00b\ud83dc") == "a\U0001f600b\ufffdc"


def test_what_a_decision_is_to_heed_goes_along() -> None:
    needs = Requirements(input_tokens=0, output_tokens=(1 << 32) - 1, vision=True)
    message = decide_request(DecisionRequest("p", explain=True, requirements=needs, metadata={"team": "search"}))
    assert (message.explain, dict(message.metadata)) == (True, {"team": "search"})
    sent = message.requirements
    assert sent.HasField("input_tokens")
    assert (sent.input_tokens, sent.output_tokens) == (0, 4294967295)
    assert (sent.tools, sent.vision, sent.audio, sent.json) == (False, True, False, False)
    plain = decide_request(DecisionRequest("p"))
    assert [field.name for field, _ in plain.ListFields()] == ["prompt"]


@pytest.mark.parametrize("count", [-1, 1 << 32, 1.0, "7", True])
def test_a_requirement_that_is_no_count_is_named(count: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decide_request(DecisionRequest("p", requirements=Requirements(output_tokens=count)))
    assert caught.value.field == "requirements.output_tokens"


@pytest.mark.parametrize("metadata", [{"team": 3}, {3: "team"}, {"team": "\ud800"}])
def test_metadata_must_be_text(metadata: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decide_request(DecisionRequest("p", metadata=metadata))
    assert caught.value.field == "metadata"


@given(chats)
def test_a_chat_keeps_order_roles_and_texts_and_sends_nothing_of_other_parts(chat: list[dict[str, Any]]) -> None:
    message = decide_request(DecisionRequest(chat))
    assert message.HasField("conversation")
    assert not message.HasField("prompt")
    assert SECRET.encode() not in message.SerializeToString()
    sent = message.conversation.messages
    assert len(sent) == len(chat)
    for before, after in zip(chat, sent, strict=True):
        expected = "tool" if before["role"] == "function" else before["role"]
        assert wire.Role.Name(after.role) == f"ROLE_{expected.upper()}"
        content = before["content"]
        parts = [] if content is None else [{"type": "text", "text": content}] if isinstance(content, str) else content
        assert len(after.content) == len(parts)
        for part, out in zip(parts, after.content, strict=True):
            if part["type"] == "text":
                assert out.text == well_formed(part["text"])
            else:
                assert out.other.kind == part["type"]


def test_objects_with_the_same_names_serve_as_messages() -> None:
    chat: Any = [SimpleNamespace(role="user", content=[SimpleNamespace(type="text", text="hi")]), {"role": "assistant"}]
    sent = decide_request(DecisionRequest(chat)).conversation.messages
    assert sent[0].content[0].text == "hi"
    assert not sent[1].content


def test_absent_settings_are_absent_and_zero_is_a_value() -> None:
    bare = decide_request(DecisionRequest("p"))
    assert [field.name for field, _ in bare.ListFields()] == ["prompt"]
    zero = decide_request(DecisionRequest("p", threshold=0, strong_share=0.0))
    assert zero.HasField("threshold")
    assert zero.HasField("strong_share")


def test_every_setting_travels() -> None:
    message = decide_request(
        DecisionRequest("p", "r", 0.25, 0.5, "cheap", ("big", "small"), session_id="s", request_id="q")
    )
    assert (message.router, message.threshold, message.strong_share, message.policy) == ("r", 0.25, 0.5, "cheap")
    assert (message.models.strong, message.models.weak) == ("big", "small")
    assert (message.session_id, message.request_id) == ("s", "q")
    assert decide_request(DecisionRequest("p", models=ModelPair(weak="small"))).models.weak == "small"


def test_the_server_judges_numbers() -> None:
    assert math.isnan(decide_request(DecisionRequest("p", threshold=math.nan)).threshold)
    assert decide_request(DecisionRequest("p", strong_share=7)).strong_share == 7


WRONG: list[tuple[Any, str, str | None]] = [
    (DecisionRequest(SECRET.encode()), "prompt", None),  # type: ignore[arg-type]  # wrong on purpose
    (DecisionRequest(None), "prompt", None),  # type: ignore[arg-type]  # wrong on purpose
    (DecisionRequest({"role": "user", "content": SECRET}), "prompt", None),  # type: ignore[arg-type]  # wrong on purpose
    (DecisionRequest([{"role": "usr", "content": SECRET}]), "conversation.messages[0].role", "ROLE_INVALID"),
    (DecisionRequest([{"content": SECRET}]), "conversation.messages[0].role", "ROLE_INVALID"),
    (DecisionRequest([SECRET]), "conversation.messages[0].role", "ROLE_INVALID"),  # type: ignore[list-item]  # wrong on purpose
    (DecisionRequest([{"role": "user", "content": SECRET.encode()}]), "conversation.messages[0].content", None),
    (
        DecisionRequest([{"role": "user", "content": [{"text": SECRET}]}]),
        "conversation.messages[0].content[0].type",
        None,
    ),
    (
        DecisionRequest([{"role": "user", "content": [{"type": "text", "text": [SECRET]}]}]),
        "conversation.messages[0].content[0].text",
        None,
    ),
    (DecisionRequest(SECRET, threshold="0.5"), "threshold", None),  # type: ignore[arg-type]  # wrong on purpose
    (DecisionRequest(SECRET, router=3), "router", None),  # type: ignore[arg-type]  # wrong on purpose
    (DecisionRequest(SECRET, session_id="\ud800"), "session_id", "INVALID_UTF8"),
    (DecisionRequest(SECRET, models="big"), "models", None),  # type: ignore[arg-type]  # wrong on purpose
    (DecisionRequest(SECRET, models=("big", None)), "models.weak", None),  # type: ignore[arg-type]  # wrong on purpose
]


@pytest.mark.parametrize(("request_", "field", "reason"), WRONG)
def test_what_the_wire_cannot_carry_is_named_and_the_prompt_is_not(
    request_: DecisionRequest, field: str, reason: str | None
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decide_request(request_)
    error = caught.value
    assert (error.field, error.reason) == (field, reason)
    assert field in str(error)
    assert error.__context__ is None
    assert SECRET not in "".join(traceback.format_exception_only(error)) + repr(vars(error))
    assert SECRET.encode() not in pickle.dumps(error)
