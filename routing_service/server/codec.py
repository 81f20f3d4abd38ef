"""Protobuf to domain and back. All checks of a request's form are here; what its names mean is the engine's matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage
from routing_client.proto import conversation_pb2, decision_pb2, error_reason_pb2, routing_service_pb2

from routing_service.config import LimitsConfig
from routing_service.engine.conversation import Turn, routed_text
from routing_service.engine.types import Decision, RouteRequest
from routing_service.errors import DecisionError, Reason
from routing_service.server.malformed import explain, parse_leniently

M = TypeVar("M", bound=ProtoMessage)

MAX_ID_BYTES = 256
_ROLES = frozenset(conversation_pb2.Role.values()) - {conversation_pb2.ROLE_UNSPECIFIED}
_FALLBACK_REASONS = {r: error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{r}") for r in Reason}


def parse(raw: bytes, kind: type[M]) -> M:
    """Parse a request.

    Raises:
        DecisionError: MALFORMED_REQUEST, or INVALID_UTF8 with the field.
    """
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise explain(raw, kind) from error


def parse_batch(raw: bytes) -> list[routing_service_pb2.DecideRequest | DecisionError]:
    """Parse a batch item by item, so that one that is not valid UTF-8 fails nobody else.

    Raises:
        DecisionError: MALFORMED_REQUEST; the bytes are no batch.
    """
    try:
        return list(routing_service_pb2.BatchDecideRequest.FromString(raw).requests)
    except DecodeError as error:
        twin = parse_leniently(raw, routing_service_pb2.BatchDecideRequest)
        if twin is None:
            raise explain(raw, routing_service_pb2.BatchDecideRequest) from error
        return [_parse_item(item.SerializeToString()) for item in twin.requests]  # type: ignore[attr-defined] # dynamic


def _parse_item(raw: bytes) -> routing_service_pb2.DecideRequest | DecisionError:
    try:
        return parse(raw, routing_service_pb2.DecideRequest)
    except DecisionError as error:
        return error


def to_request(message: routing_service_pb2.DecideRequest, limits: LimitsConfig) -> RouteRequest:
    """Check a request's form and turn it into the engine's.

    Raises:
        DecisionError: neither or both inputs, an empty or too large one, no user turn, an unknown role, an id too long.
    """
    has_prompt, has_conversation = message.HasField("prompt"), message.HasField("conversation")
    if has_prompt and has_conversation:
        raise DecisionError(
            Reason.INPUT_AMBIGUOUS, "Both `prompt` and `conversation` are set; set exactly one of them.", "conversation"
        )
    if has_prompt:
        text, skipped = message.prompt, 0
        check_prompt(text, limits)
    elif has_conversation:
        text, skipped = routed_text(_turns(message.conversation))
        _check_size(text, "conversation", limits.max_prompt_bytes)
    else:
        raise DecisionError(
            Reason.INPUT_MISSING, "Neither `prompt` nor `conversation` is set; set exactly one of them.", "prompt"
        )
    request = RouteRequest(text, skipped, message.router)
    if message.HasField("threshold"):
        request.threshold = message.threshold
    if message.HasField("strong_share"):
        request.strong_share = message.strong_share
    request.policy = message.policy
    if message.HasField("models"):
        request.strong_model, request.weak_model = message.models.strong, message.models.weak
    request.request_id = _checked_id(message.request_id, "request_id")
    _checked_id(message.session_id, "session_id")
    return request


def check_prompt(text: str, limits: LimitsConfig, field: str = "prompt") -> None:
    """Check the text of a prompt that came in `field`.

    Raises:
        DecisionError: it is empty or too large.
    """
    if not text or text.isspace():
        raise DecisionError(
            Reason.PROMPT_EMPTY, f"`{field}` is empty or only white space; send the text to route.", field
        )
    _check_size(text, field, limits.max_prompt_bytes)


def to_requests(
    messages: list[routing_service_pb2.DecideRequest | DecisionError], limits: LimitsConfig
) -> list[RouteRequest | DecisionError]:
    """`to_request` for each item of a batch, with an error in place of a raise."""
    return [m if isinstance(m, DecisionError) else _request_or_error(m, limits) for m in messages]


def _request_or_error(message: routing_service_pb2.DecideRequest, limits: LimitsConfig) -> RouteRequest | DecisionError:
    try:
        return to_request(message, limits)
    except DecisionError as error:
        return error


def to_message(decision: Decision) -> decision_pb2.Decision:
    """A decision on the wire."""
    fallback = decision.fallback_reason
    return decision_pb2.Decision(
        decision_id=decision.decision_id,
        model=decision.model,
        tier=decision.tier,  # type: ignore[arg-type] # the domain's enums have the proto's numbers
        strong_win_rate=decision.strong_win_rate,
        threshold=decision.threshold,
        router=decision.router,
        router_revision=decision.router_revision,
        reason=decision.reason,  # type: ignore[arg-type] # as above
        fallback_reason=None if fallback is None else _FALLBACK_REASONS[fallback],  # type: ignore[arg-type] # an enum's number
        prompt_tokens=decision.prompt_tokens,
        truncated=decision.truncated,
        skipped_parts=decision.skipped_parts,
        timing=decision_pb2.Timing(
            tokenize_us=decision.tokenize_us,
            queue_us=decision.queue_us,
            inference_us=decision.inference_us,
            total_us=decision.total_us,
        ),
        request_id=decision.request_id,
        cached=decision.cached,
    )


def _turns(conversation: conversation_pb2.Conversation) -> Iterator[Turn]:
    """The messages, newest first. Every role is checked before the first is given."""
    for index, message in enumerate(conversation.messages):
        if message.role not in _ROLES:
            field = f"conversation.messages[{index}].role"
            raise DecisionError(Reason.ROLE_INVALID, f"`{field}` is not set or not known; set one of the roles.", field)
    for message in reversed(conversation.messages):
        texts = [part.text for part in message.content if part.WhichOneof("part") == "text"]
        yield Turn(message.role == conversation_pb2.ROLE_USER, texts, len(message.content) - len(texts))


def _check_size(text: str, field: str, limit: int) -> None:
    if len(text) * 4 <= limit:  # no character takes more than four bytes of UTF-8
        return
    size = len(text.encode())
    if size > limit:
        raise DecisionError(
            Reason.PROMPT_TOO_LARGE,
            f"The text of `{field}` has {size:,} bytes; this server takes {limit:,}. Send its start only.",
            field,
            {"bytes": str(size), "limit_bytes": str(limit)},
        )


def _checked_id(value: str, field: str) -> str:
    if len(value) * 4 > MAX_ID_BYTES and len(value.encode()) > MAX_ID_BYTES:
        raise DecisionError(
            Reason.ID_TOO_LONG,
            f"`{field}` is longer than {MAX_ID_BYTES} bytes; use a shorter one.",
            field,
            {"limit_bytes": str(MAX_ID_BYTES)},
        )
    return value
