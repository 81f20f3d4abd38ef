"""What of a request the decision service is sent, and what it cannot decide on although a model may answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from routing_client.exceptions import OUTAGES, RoutingError

WHOLE_CHAT_CHARACTERS = 1 << 20
"""Services refuse messages over 4 MiB. Of a longer chat, the service is sent what it routes on and not all of it."""

_CANNOT_BE_ROUTED = frozenset({"NO_USER_TURN", "PROMPT_EMPTY", "PROMPT_TOO_LARGE"})


def shortened(messages: Sequence[Any]) -> Sequence[Any]:
    """The messages; of a very long chat only those from the newest user message that has text on."""
    if sum(_length(_get(message, "content")) for message in messages) <= WHOLE_CHAT_CHARACTERS:
        return messages
    for index in range(len(messages) - 1, -1, -1):
        if _get(messages[index], "role") == "user" and _length(_get(messages[index], "content")):
            return messages[index:]
    return messages


def allows_fallback(error: RoutingError) -> bool:
    """Whether the request may be sound although there is no decision: an outage, images only, or a book."""
    return (
        isinstance(error, OUTAGES)
        or error.reason in _CANNOT_BE_ROUTED
        or error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    )


def _length(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        return 0
    texts = (part if isinstance(part, str) else _get(part, "text") for part in content)
    return sum(len(text) for text in texts if isinstance(text, str))


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
