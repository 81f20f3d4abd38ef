"""What a decision is asked for, by path: a chat's messages, a completion's prompt, a response's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from routing_gateway.bodies.large import Wanted
from routing_gateway.errors import GatewayError

if TYPE_CHECKING:
    from routing_gateway.bodies.body import Body

_MODEL = {"model": Wanted.SHORT}


class Ask(NamedTuple):
    """How a path's requests are read."""

    path: str
    label: str
    """For metrics and logs."""
    wanted: Mapping[str, Wanted]
    """The fields that are read."""
    prompt: Callable[[Body], str | list[Any]]
    """What to decide on: a text or messages.

    Raises:
        GatewayError: There is none.
    """
    needs_model: bool = False
    """Whether a request without a model is wrong; other paths have stored prompts that bring one."""


def has_words(prompt: str | list[Any]) -> bool:
    """Whether a user says anything in it; tools' results alone, say, are nothing to decide on."""
    if isinstance(prompt, str):
        return bool(prompt.strip())
    return any(
        isinstance(message, dict) and message.get("role") == "user" and _has_text(message.get("content"))
        for message in prompt
    )


def _has_text(content: Any) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    if not isinstance(content, list):
        return False
    texts = (part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | dict))
    return any(isinstance(text, str) and text.strip() for text in texts)


def _messages(body: Body) -> list[Any]:
    messages = body.fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise GatewayError(
            400, "messages must be a list of at least one message", param="messages", code="messages_missing"
        )
    return messages


def _prompt(body: Body) -> str:
    prompt = body.fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise GatewayError(
            400,
            "prompt must be one string to be decided on; several may need different models: name the model itself",
            param="prompt",
            code="not_routed",
        )
    return prompt


def _input(body: Body) -> str | list[Any]:
    given = body.fields.get("input")
    if isinstance(given, str | list) and given:
        return given
    raise GatewayError(400, "input must be a text or a list of items", param="input", code="input_missing")


CHAT = Ask(
    "/v1/chat/completions",
    "chat_completions",
    {**_MODEL, "messages": Wanted.MESSAGES},
    _messages,
    needs_model=True,
)
COMPLETIONS = Ask("/v1/completions", "completions", {**_MODEL, "prompt": Wanted.TEXT}, _prompt)
RESPONSES = Ask(
    "/v1/responses",
    "responses",
    {**_MODEL, "input": Wanted.MESSAGES, "previous_response_id": Wanted.SHORT},
    _input,
)
