"""A row's text: its `prompt`, the newest user turn of its messages, or the first turn of a battle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routing_service.rows.reader import PROMPT, Row

MESSAGES, BODY, CONVERSATION = "messages", "body", "conversation_a"
MODELS = ("model_a", "model_b")
# The places of a row's text, in this order.
PROMPT_COLUMNS = (PROMPT, MESSAGES, BODY, CONVERSATION)

_TEXT_PARTS = ("text", "input_text")
_ADVICE = f"Name the prompts {PROMPT!r}, or conversations {MESSAGES!r}."


def read_prompts(rows: Iterable[Row]) -> Iterator[str]:
    """The texts of a file's rows, in order. Rows without text are left out and counted in their file's `blank`.

    Raises:
        UsageError: the file cannot be read, or a row has no column for a text; it says which.
    """
    for _, text in read_asked(rows):
        yield text


def read_asked(rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Like `read_prompts`, each text with its row."""
    for row in rows:
        text = prompt_of(row)
        if text.strip():
            yield row, text
        else:
            row.file.blank += 1


def prompt_of(row: Row) -> str:
    """A row's text, blank if it has none.

    It is the column `prompt`; else the newest user turn with text of `messages`, or of OpenAI's batch rows'
    `body.messages`; else the first user turn of `conversation_a`. If a battle's `prompt` is a JSON list of turns, it
    is the first of them. Half a surrogate pair, which JSON can write but UTF-8 cannot, becomes a question mark.

    Raises:
        UsageError: it has none of these, or one of them is wrong.
    """
    return _text(row).encode("utf-8", "replace").decode()


def is_battle(values: Mapping[str, Any]) -> bool:
    """Whether a row is a battle of two models."""
    return values.get("scores") is None and any(values.get(column) is not None for column in MODELS)


def _text(row: Row) -> str:
    values = row.values
    if (prompt := values.get(PROMPT)) is not None:
        return _first_turn(row, prompt) if is_battle(values) else _plain(row, prompt)
    if (messages := values.get(MESSAGES)) is not None:
        return _newest_user_text(_turns(row, MESSAGES, messages))
    if isinstance(body := _decoded(values.get(BODY)), dict) and body.get(MESSAGES) is not None:
        return _newest_user_text(_turns(row, f"{BODY}.{MESSAGES}", body[MESSAGES]))
    if (conversation := values.get(CONVERSATION)) is not None:
        users = (text for is_user, text in _turns(row, CONVERSATION, conversation) if is_user)
        return next(users, "")
    if any(column in values for column in (PROMPT, MESSAGES, CONVERSATION)):
        return ""
    raise row.lacks(PROMPT, _ADVICE)


def _plain(row: Row, prompt: Any) -> str:
    if not isinstance(prompt, str):
        raise row.error(f"{PROMPT!r} is not text; write the prompt as a string")
    return prompt


def _first_turn(row: Row, prompt: Any) -> str:
    turns = _decoded(prompt) if isinstance(prompt, str) and prompt.lstrip().startswith("[") else prompt
    if isinstance(turns, list) and all(isinstance(turn, str | None) for turn in turns):
        return (turns[0] or "") if turns else ""
    if isinstance(prompt, str):
        return prompt
    raise row.error(f"{PROMPT!r} must be a text, or a list of turns that are texts")


def _turns(row: Row, column: str, messages: Any) -> list[tuple[bool, str]]:
    """For each message: whether a user wrote it, and its text."""
    found = _decoded(messages)
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise row.error(f"{column!r} must be a list of messages, each with a role and its content")
    return [(message.get("role") == "user", "\n".join(_texts(message.get("content")))) for message in found]


def _newest_user_text(turns: list[tuple[bool, str]]) -> str:
    return next((text for is_user, text in reversed(turns) if is_user and text.strip()), "")


def _texts(content: Any) -> Iterable[str]:
    """The texts of a message's content: a text, or its text parts."""
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS else part
        if isinstance(text, str):
            yield text


def _decoded(value: Any) -> Any:
    """A value from JSON, if it is a text as in a cell of CSV."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
