"""From Python values to the wire.

The server's rules are checked by the server only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from routing_client._gen.llmrouting.v1 import conversation_pb2, routing_service_pb2
from routing_client.exceptions import FieldViolation, InvalidRequestError
from routing_client.types import DecisionRequest, Messages, ModelPair, Requirements

ROLES = {
    "system": conversation_pb2.ROLE_SYSTEM,
    "developer": conversation_pb2.ROLE_DEVELOPER,
    "user": conversation_pb2.ROLE_USER,
    "assistant": conversation_pb2.ROLE_ASSISTANT,
    "tool": conversation_pb2.ROLE_TOOL,
    "function": conversation_pb2.ROLE_TOOL,
}
TEXT_TYPES = frozenset({"text", "input_text", "output_text"})


def decide_request(request: DecisionRequest) -> routing_service_pb2.DecideRequest:
    """The `llmrouting.v1.DecideRequest` for `request`.

    Raises:
        InvalidRequestError: A value has a type or a role that the wire cannot carry. It never quotes the prompt.
    """
    message = routing_service_pb2.DecideRequest()
    if isinstance(request.prompt, str):
        message.prompt = well_formed(request.prompt)
    elif is_chat(request.prompt):
        message.conversation.SetInParent()  # an empty list is an empty conversation; the server says so
        fill_conversation(message.conversation, request.prompt)
    else:
        raise invalid("prompt", f"must be a str or a list of messages, not {type(request.prompt).__name__}")
    for field in ("threshold", "strong_share"):
        number = getattr(request, field)
        if number is not None:
            setattr(message, field, _number(number, field))
    for field in ("router", "policy", "session_id", "request_id"):
        name = getattr(request, field)
        if name is not None:
            setattr(message, field, _name(name, field))
    if request.models is not None:
        pair = model_pair(request.models)
        message.models.strong, message.models.weak = pair.strong, pair.weak
    message.explain = request.explain
    if request.requirements is not None:
        _require(message.requirements, request.requirements)
    for key, value in (request.metadata or {}).items():
        message.metadata[_name(key, "metadata")] = _name(value, "metadata")
    return message


def is_chat(value: object) -> TypeGuard[Messages]:
    """Whether `value` can be a list of messages."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def fill_conversation(conversation: conversation_pb2.Conversation, messages: Messages) -> None:
    """Add a chat's messages to `conversation`.

    Raises:
        InvalidRequestError: As for `decide_request`.
    """
    for index, item in enumerate(messages):
        _add_message(conversation, item, f"conversation.messages[{index}]")


def model_pair(models: ModelPair | tuple[str, str]) -> ModelPair:
    """`models` as a pair.

    Raises:
        InvalidRequestError: It is not a pair of strings.
    """
    match models:
        case ModelPair(strong=strong, weak=weak) | (strong, weak):
            return ModelPair(_name(strong, "models.strong"), _name(weak, "models.weak"))
        case _:
            raise invalid("models", "must be a ModelPair or a tuple (strong, weak)")


def well_formed(text: str) -> str:
    """`text` with each lone surrogate, which UTF-8 cannot carry, replaced by U+FFFD and each surrogate pair joined.

    JSON from JavaScript has such halves of emoji where a string was cut. They are no reason to refuse a decision.
    """
    if _is_utf8(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def invalid(field: str, description: str, *, reason: str | None = None) -> InvalidRequestError:
    """An error about one field."""
    return InvalidRequestError(
        f"{field} {description}", reason=reason, field_violations=[FieldViolation(field, description)]
    )


def _require(message: routing_service_pb2.Requirements, wanted: Requirements) -> None:
    for field in ("input_tokens", "output_tokens"):
        count = getattr(wanted, field)
        if count is not None:
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 32:
                raise invalid(f"requirements.{field}", "must be an int from 0 to 4294967295")
            setattr(message, field, count)
    for field in ("tools", "vision", "audio", "json"):
        setattr(message, field, bool(getattr(wanted, field)))


def _add_message(conversation: conversation_pb2.Conversation, source: Any, path: str) -> None:
    role = _get(source, "role")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid(f"{path}.role", f"must be one of {', '.join(ROLES)}", reason="ROLE_INVALID")
    message = conversation.messages.add(role=ROLES[role])
    content = _get(source, "content")
    if content is None:
        return  # an assistant message with tool calls only
    if isinstance(content, str):
        message.content.add(text=well_formed(content))
    elif isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        for index, part in enumerate(content):
            _add_part(message, part, f"{path}.content[{index}]")
    else:
        raise invalid(f"{path}.content", f"must be a str, a list of parts or None, not {type(content).__name__}")


def _add_part(message: conversation_pb2.Message, source: Any, path: str) -> None:
    if isinstance(source, str):
        message.content.add(text=well_formed(source))
        return
    kind = _get(source, "type")
    if not isinstance(kind, str):
        raise invalid(f"{path}.type", "must be a str, as in {'type': 'text', 'text': ...}")
    if kind not in TEXT_TYPES:
        # Only its kind. An image's bytes stay with the caller.
        message.content.add().other.kind = well_formed(kind)
        return
    text = _get(source, "text")
    if not isinstance(text, str):
        raise invalid(f"{path}.text", f"must be a str, not {type(text).__name__}")
    message.content.add(text=well_formed(text))


def _get(source: Any, name: str) -> Any:
    # Chats mix dicts with the objects that LLM libraries return, which have the same names as attributes.
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _number(value: Any, field: str) -> float:
    # Any number, NumPy's scalars too; a string of digits is a mistake.
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise invalid(field, f"must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        raise invalid(field, "must be a single number of ordinary size") from None


def _name(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise invalid(field, f"must be a str, not {type(value).__name__}")
    if not _is_utf8(value):
        raise invalid(field, "is not valid Unicode", reason="INVALID_UTF8")
    return value


def _is_utf8(text: str) -> bool:
    # In a function: the UnicodeEncodeError contains the text and must not become an exception's context.
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
