"""Which part of a request the decision service gets, and which requests only a model can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from routing_client._requests import ROLES, TEXT_TYPES
from routing_client.exceptions import OUTAGES, RoutingError

if TYPE_CHECKING:
    from routing_client.types import Messages

MAX_CHARACTERS = 1 << 19
"""Of a longer prompt or chat, only a part is sent. Services take 2 MiB of UTF-8, and routers read far less."""
MAX_MESSAGES = 256
"""The newest messages of a longer chat are sent."""
MAX_PARTS = 1024
"""Parts of all these messages together."""

_CANNOT_BE_ROUTED = frozenset({"NO_USER_TURN", "PROMPT_EMPTY", "PROMPT_TOO_LARGE"})


def routable(prompt: str | Messages, limit: int = MAX_CHARACTERS) -> str | Messages:
    """The part for the service: the prompt, or the newest messages, within `limit` characters.

    Parts of messages that no router reads are left out, even wrong ones: the model's server judges them. The newest
    user message with text is always included, cut if it alone is longer than `limit`.
    """
    if isinstance(prompt, str):
        return shortened(prompt, limit)
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes | bytearray):
        return prompt  # the client says what is wrong with it
    kept: list[dict[str, Any]] = []
    room, parts, asks = limit, MAX_PARTS, False
    for message in reversed(prompt):
        role = _get(message, "role")
        if not isinstance(role, str) or role not in ROLES:
            continue
        content, texts = _content(_get(message, "content"))
        length = sum(map(len, texts))
        is_ask = role == "user" and any(text and not text.isspace() for text in texts)
        if length > room or (not isinstance(content, str) and len(content) > parts) or len(kept) == MAX_MESSAGES:
            if asks:
                break
            if not is_ask:
                continue  # an older message may be the newest user message
            # Nothing that is newer matters to the decision.
            kept.clear()
            content, room, parts = shortened("\n".join(texts), limit), limit, MAX_PARTS
        kept.append({"role": role, "content": content})
        room, asks = room - length, asks or is_ask
        if not isinstance(content, str):
            parts -= len(content)
    kept.reverse()
    return kept


def smaller(prompt: str | Messages, error: RoutingError) -> str | Messages | None:
    """`prompt` cut to the limit that `error` names; None when the error is not about the length."""
    limit = error.metadata.get("limit_bytes", "")
    if error.reason != "PROMPT_TOO_LARGE" or not limit.isdecimal() or int(limit) < 4:
        return None
    cut = routable(prompt, int(limit) // 4)  # no character takes more than four bytes of UTF-8
    return None if cut == prompt else cut


def allows_fallback(error: RoutingError) -> bool:
    """Whether the request may be right although there is no decision: an outage, images only, or a very long text."""
    return (
        isinstance(error, OUTAGES)
        or error.reason in _CANNOT_BE_ROUTED
        or error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    )


def shortened(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The text, or its beginning and its end: a question comes before or after its material."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return text[: limit - half] + text[len(text) - half :]


def _content(content: Any) -> tuple[str | list[dict[str, Any]], list[str]]:
    """The readable parts, the last ones if there are too many, of parts without text only their kind; and the texts."""
    if isinstance(content, str):
        return content, [content]
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        return [], []
    parts = [part for each in content[-MAX_PARTS:] if (part := _part(each)) is not None]
    return parts, [part["text"] for part in parts if "text" in part]


def _part(part: Any) -> dict[str, Any] | None:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind, text = _get(part, "type"), _get(part, "text")
    if not isinstance(kind, str):
        return None
    if kind not in TEXT_TYPES:
        return {"type": kind}
    return {"type": "text", "text": text} if isinstance(text, str) else None


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
