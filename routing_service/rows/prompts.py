"""A row's text: its `prompt`, the newest user turn of its messages, or the first turn of a battle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from routing_service.rows.reader import PROMPT, Asks, Row

MESSAGES, BODY, CONVERSATION = "messages", "body", "conversation_a"
MODELS = ("model_a", "model_b")
# The places of a row's text, in this order.
PROMPT_COLUMNS = (PROMPT, MESSAGES, BODY, CONVERSATION)

# For each message: whether a user wrote it, and its texts.
_Turn = tuple[bool, list[str]]
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
        text, file = prompt_of(row), row.file
        if not text.strip():
            file.blank += 1
        elif file.leave_out is not None and file.leave_out(row, text):
            file.left_out += 1
        else:
            yield row, text


def read_chats(rows: Iterable[Row]) -> Iterator[str | list[dict[str, Any]]]:
    """Like `read_prompts`, but conversations as they are: messages with role and content."""
    for row in rows:
        if not _text(row, None).strip():
            row.file.blank += 1
            continue
        found = _messages(row)
        if found is None or row.values.get(PROMPT) is not None:
            yield prompt_of(row)
        else:
            yield [{"role": "user" if user else "assistant", "content": "\n".join(texts)} for user, texts in found]


def prompt_of(row: Row) -> str:
    """A row's text, blank if it has none; what it asks, if its file says how that is read.

    It is the column `prompt`; else the newest user turn with text of `messages`, or of OpenAI's batch rows'
    `body.messages`; else the first user turn of `conversation_a`. If a battle's `prompt` is a JSON list of turns, it
    is the first of them. Half a surrogate pair, which JSON can write but UTF-8 cannot, becomes a question mark.

    Raises:
        UsageError: it has none of these, or one of them is wrong.
    """
    return _utf8(_text(row, row.file.asks))


def whole_prompt_of(row: Row) -> str:
    """Like `prompt_of`, but the whole text: what a model gets to read."""
    return _utf8(_text(row, None))


def has_of(row: Row) -> frozenset[str]:
    """Which of `tools` and `images` a row's messages have."""
    values = row.values
    body = _decoded(values.get(BODY))
    messages = _decoded(values.get(MESSAGES) or (body.get(MESSAGES) if isinstance(body, dict) else None))
    found = set[str]()
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            continue
        if message.get("role") in ("tool", "function") or message.get("tool_calls"):
            found.add("tools")
        for part in message["content"] if isinstance(message.get("content"), list) else []:
            kind = str(part.get("type")) if isinstance(part, dict) else ""
            found.update(what for what, word in (("tools", "tool"), ("images", "image")) if word in kind)
    return frozenset(found)


def is_battle(values: Mapping[str, Any]) -> bool:
    """Whether a row is a battle of two models."""
    return values.get("scores") is None and any(values.get(column) is not None for column in MODELS)


def _text(row: Row, asks: Asks | None) -> str:
    values = row.values
    if (prompt := values.get(PROMPT)) is not None:
        text = _first_turn(row, prompt) if is_battle(values) else _plain(row, prompt)
    elif (messages := _messages(row)) is not None:
        turns = reversed(messages)
        if asks is not None:
            return asks.of_messages(turns)
        return next((text for user, texts in turns if user and (text := "\n".join(texts)).strip()), "")
    elif (conversation := values.get(CONVERSATION)) is not None:
        text = next(("\n".join(texts) for is_user, texts in _turns(row, CONVERSATION, conversation) if is_user), "")
    elif any(column in values for column in (PROMPT, MESSAGES, CONVERSATION)):
        return ""
    else:
        raise row.lacks(PROMPT, _ADVICE)
    return text if asks is None else asks.of_prompt(text)


def _messages(row: Row) -> list[_Turn] | None:
    """The messages of a row that has some, not as a battle has them."""
    values = row.values
    if (messages := values.get(MESSAGES)) is not None:
        return _turns(row, MESSAGES, messages)
    if isinstance(body := _decoded(values.get(BODY)), dict) and body.get(MESSAGES) is not None:
        return _turns(row, f"{BODY}.{MESSAGES}", body[MESSAGES])
    return None


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


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


def _turns(row: Row, column: str, messages: Any) -> list[_Turn]:
    found = _decoded(messages)
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise row.error(f"{column!r} must be a list of messages, each with a role and its content")
    return [(message.get("role") == "user", list(_texts(message.get("content")))) for message in found]


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
