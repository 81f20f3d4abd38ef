"""Protobuf to domain and back. All checks of a request's form are here; the engine checks its names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage
from routing_client.proto import conversation_pb2, decision_pb2, error_reason_pb2, item_error_pb2, routing_service_pb2

from routing_service import protobuf_wire as wire
from routing_service.asks.reader import AskReader, ReadText, Turn
from routing_service.asks.rules import IMAGES, TOOLS, Rules
from routing_service.asks.spans import Piece
from routing_service.config import LimitsConfig
from routing_service.engine.pacing import Pace
from routing_service.engine.types import Decision, RouteRequest, Span
from routing_service.errors import DecisionError, Reason
from routing_service.server.malformed import explain, malformed

M = TypeVar("M", bound=ProtoMessage)

MAX_ID_BYTES = 256
MAX_METADATA_ENTRIES = 32
MAX_METADATA_BYTES = 256
_ITEM = (routing_service_pb2.BatchDecideRequest.REQUESTS_FIELD_NUMBER, wire.LEN)
_OTHER_TURN = Turn(is_user=False, texts=(), other_parts=0)
# What rules can look for, by the requirement that says the same, and by words in the kinds of parts.
_RULES_READ = {"tools": TOOLS, "vision": IMAGES}
_KINDS = ((TOOLS, ("tool", "function_call")), (IMAGES, ("image",)))
_ROLES = frozenset(conversation_pb2.Role.values()) - {conversation_pb2.ROLE_UNSPECIFIED}
_ERROR_REASONS = {r: error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{r}") for r in Reason}


def parse(raw: bytes, kind: type[M]) -> M:
    """Parse a request.

    Raises:
        DecisionError: MALFORMED_REQUEST, or INVALID_UTF8 with the field.
    """
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise explain(raw, kind) from error


def split_batch(raw: bytes) -> list[bytes]:
    """The items of a batch, not yet parsed: a wrong one fails no other.

    Raises:
        DecisionError: MALFORMED_REQUEST; the bytes are not a batch.
    """
    try:
        return [raw[f.start : f.end] for f in wire.fields(raw) if (f.number, f.wire_type) == _ITEM]
    except wire.MalformedError as error:
        raise malformed(routing_service_pb2.BatchDecideRequest) from error


def to_request(
    message: routing_service_pb2.DecideRequest, limits: LimitsConfig, asks: AskReader, rules: Rules | None = None
) -> RouteRequest:
    """Check a request's form and turn it into the engine's, with the text that `asks` reads and what `rules` look at.

    Raises:
        DecisionError: neither or both inputs, an empty or too large one, no user turn, an unknown role, an id too long.
    """
    has_prompt, has_conversation = message.HasField("prompt"), message.HasField("conversation")
    if has_prompt and has_conversation:
        raise DecisionError(
            Reason.INPUT_AMBIGUOUS, "Both `prompt` and `conversation` are set; set exactly one of them.", "conversation"
        )
    if has_prompt:
        prompt = message.prompt  # each reading of the field decodes it
        check_prompt(prompt, limits)
        read = asks.prompt(prompt)
        spans = _spans([prompt], read, 0) if message.explain else None
    elif has_conversation:
        read = read_conversation(message.conversation, limits, asks)
        spans = None
        if message.explain:
            index = len(message.conversation.messages) - 1 - read.newer_turns
            spans = _spans([part.text for part in message.conversation.messages[index].content], read, index)
    else:
        raise DecisionError(
            Reason.INPUT_MISSING, "Neither `prompt` nor `conversation` is set; set exactly one of them.", "prompt"
        )
    required = message.requirements.ListFields() if message.HasField("requirements") else ()
    if required and any(rules is None or not rules.read(_RULES_READ.get(field.name, "")) for field, _ in required):
        raise DecisionError(
            Reason.FIELD_NOT_IMPLEMENTED,
            "`requirements` are not supported by this release; leave them out, and check the answer's model yourself.",
            "requirements",
            {"field": "requirements"},
        )
    _check_metadata(message)
    request = RouteRequest(read.text, read.skipped_parts, message.router, spans=spans)
    if rules is not None:
        request.newest, request.metadata = read.newest, dict(message.metadata)
        request.has = _has(message, rules)
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


def read_conversation(
    conversation: conversation_pb2.Conversation, limits: LimitsConfig, asks: AskReader, field: str = "conversation"
) -> ReadText:
    """The text to score of a conversation in `field`.

    Raises:
        DecisionError: a role is not known, no user message has text, or the text is too large.
    """
    return asks.conversation(_turns(conversation, field, limits), field)


def check_prompt(text: str, limits: LimitsConfig, field: str = "prompt") -> None:
    """Check the text of a prompt in `field`.

    Raises:
        DecisionError: it is empty or too large.
    """
    if not text or text.isspace():
        raise DecisionError(
            Reason.PROMPT_EMPTY, f"`{field}` is empty or only white space; send the text to route.", field
        )
    _check_size(text, field, limits.max_prompt_bytes)


async def item_request(
    raw: bytes, limits: LimitsConfig, asks: AskReader, pace: Pace, rules: Rules | None = None
) -> tuple[RouteRequest | DecisionError, str]:
    """Parse an item of a batch: its request or its error, and its id, empty if it cannot be read."""
    request_id = ""
    try:
        message = parse(raw, routing_service_pb2.DecideRequest)
        if pace.is_due:
            await pace.rest()
        request_id = _checked_id(message.request_id, "request_id")
        return to_request(message, limits, asks, rules), request_id
    except DecisionError as error:
        return error, request_id


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
        fallback_reason=None if fallback is None else _ERROR_REASONS[fallback],  # type: ignore[arg-type] # an enum's number
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
        source=decision.source,  # type: ignore[arg-type] # as above
        policy=decision.policy,
        rule=decision.rule,
        signal=decision.signal,
        generation=decision.generation,
        asked=decision_pb2.Asked(length_bytes=decision.asked.length_bytes, digest=decision.asked.digest),
        explanation=None if decision.spans is None else _explanation(decision.spans, decision.topic),
    )


def to_item_error(error: DecisionError) -> item_error_pb2.ItemError:
    """A bad item's error; it has the content of `DecisionError.to_status`."""
    message = item_error_pb2.ItemError(
        code=error.code.value[0],
        reason=_ERROR_REASONS[error.reason],  # type: ignore[arg-type] # an enum's number
        message=error.message,
        field=error.field,
        metadata=error.metadata,
    )
    if error.retry_seconds is not None:
        message.retry_delay.FromNanoseconds(round(error.retry_seconds * 1e9))
    return message


def _explanation(spans: Iterable[Span], topic: str) -> decision_pb2.Explanation:
    return decision_pb2.Explanation(
        spans=[decision_pb2.Span(message=s.message, part=s.part, begin=s.begin, end=s.end) for s in spans], topic=topic
    )


def has_of(conversation: conversation_pb2.Conversation, rules: Rules) -> frozenset[str]:
    """Which of the things that rules look for a conversation has: tool calls or their results, and images."""
    found = set[str]()
    if rules.read(TOOLS) and any(message.role == conversation_pb2.ROLE_TOOL for message in conversation.messages):
        found.add(TOOLS)
    if rules.read(IMAGES) or rules.read(TOOLS):
        for message in conversation.messages:
            for part in message.content:
                kind = part.other.kind if part.WhichOneof("part") == "other" else ""
                if kind:
                    found.update(what for what, known in _KINDS if any(word in kind for word in known))
    return frozenset(found)


def _has(message: routing_service_pb2.DecideRequest, rules: Rules) -> frozenset[str]:
    needs = message.requirements
    required = {TOOLS: needs.tools, IMAGES: needs.vision}
    return has_of(message.conversation, rules) | {what for what, needed in required.items() if needed}


def _spans(texts: Sequence[str], read: ReadText, message: int) -> tuple[Span, ...]:
    """The places of the text that was read, of a message's parts. A part without text is "" here."""
    pieces: Sequence[Piece] = read.pieces if read.pieces is not None else ((0, sum(len(text) + 1 for text in texts)),)
    found: list[Span] = []
    begin = place = 0  # where the part begins in the joined parts, and the piece that is looked at
    for part, text in enumerate(texts):
        if not text:
            continue
        end = begin + len(text)
        seen = size = 0  # so many characters of the part are counted, of so many bytes
        while place < len(pieces) and pieces[place][0] < end:
            low, high = max(pieces[place][0], begin) - begin, min(pieces[place][1], end) - begin
            if low < high:
                first = size + len(text[seen:low].encode())
                seen, size = high, first + len(text[low:high].encode())
                found.append(Span(message, part, first, size))
            if pieces[place][1] > end:
                break  # it goes on in the next part
            place += 1
        begin = end + 1  # the newline that joins it to the next
    return tuple(found)


def _turns(conversation: conversation_pb2.Conversation, path: str, limits: LimitsConfig) -> Iterator[Turn]:
    """The messages, newest first, to the first user message that is too large. All roles are checked first.

    Raises:
        DecisionError: a role is wrong, or the newest message with text is too large. An older one that is too large is
            only left out: the newest can be read without it.
    """
    is_newest = True
    messages = conversation.messages
    roles = [message.role for message in messages]
    if not _ROLES.issuperset(roles):
        index = next(index for index, role in enumerate(roles) if role not in _ROLES)
        field = f"{path}.messages[{index}].role"
        raise DecisionError(Reason.ROLE_INVALID, f"`{field}` is not set or not known; set one of the roles.", field)
    for message, role in zip(reversed(messages), reversed(roles), strict=True):
        if role != conversation_pb2.ROLE_USER:
            yield _OTHER_TURN  # its content is not read
            continue
        content = message.content
        # A field is a new object at each reading, and there may be thousands of them.
        texts = [text for part in content if (text := part.text) or part.WhichOneof("part") == "text"]
        if len(content) == 1 and texts and texts[0].isspace():
            yield _OTHER_TURN  # nothing of it is read or counted
            continue
        if texts:
            text = "\n".join(texts)
            if is_newest:
                _check_size(text, path, limits.max_prompt_bytes)
                is_newest = not text or text.isspace()
            elif len(text) * 4 > limits.max_prompt_bytes and len(text.encode()) > limits.max_prompt_bytes:
                return
        yield Turn(True, texts, len(content) - len(texts))


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


def _check_metadata(message: routing_service_pb2.DecideRequest) -> None:
    entries = message.metadata
    if not entries:
        return
    if len(entries) > MAX_METADATA_ENTRIES:
        raise DecisionError(
            Reason.METADATA_TOO_LARGE,
            f"`metadata` has {len(entries):,} entries; this server takes {MAX_METADATA_ENTRIES}.",
            "metadata",
            {"limit_entries": str(MAX_METADATA_ENTRIES)},
        )
    if any(_is_longer(text, MAX_METADATA_BYTES) for entry in entries.items() for text in entry):
        raise DecisionError(
            Reason.METADATA_TOO_LARGE,
            f"A key or value of `metadata` is longer than {MAX_METADATA_BYTES} bytes; use a shorter one.",
            "metadata",
            {"limit_bytes": str(MAX_METADATA_BYTES)},
        )


def _is_longer(text: str, max_bytes: int) -> bool:
    """Whether a text has more bytes than that; a long one is not encoded to find out."""
    return len(text) > max_bytes or (len(text) * 4 > max_bytes and len(text.encode()) > max_bytes)


def _checked_id(value: str, field: str) -> str:
    if _is_longer(value, MAX_ID_BYTES):
        raise DecisionError(
            Reason.ID_TOO_LONG,
            f"`{field}` is longer than {MAX_ID_BYTES} bytes; use a shorter one.",
            field,
            {"limit_bytes": str(MAX_ID_BYTES)},
        )
    return value
