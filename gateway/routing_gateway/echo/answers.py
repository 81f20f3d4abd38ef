"""What the echo says: the same request always gets the same words.

A token of the echo is a word and the space after it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_DIMENSIONS = 8
_PIECE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the echo asks for."""

    id: str
    name: str
    arguments: str
    """JSON."""

    def as_json(self) -> dict[str, Any]:
        """In OpenAI's format."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, before it is put into a response or a stream."""

    pieces: tuple[str, ...]
    """The words; none when tools are called."""
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    prompt_tokens: int

    @property
    def content(self) -> str | None:
        """The whole text, None when tools are called."""
        return None if self.tool_calls else "".join(self.pieces)

    def usage(self, choices: int = 1) -> dict[str, int]:
        """Token counts in OpenAI's format, for an answer that is given `choices` times."""
        words = len(self.pieces) + sum(len(pieces(call.arguments)) for call in self.tool_calls)
        completion = words * choices
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }


def chat_answer(body: Mapping[str, Any], model: str) -> Answer:
    """The answer to a chat: tool calls where tools are asked for, JSON where that is the response format, else an echo.

    A tool is asked for when `tool_choice` is `required` or names it, or when the newest message is a user's that has
    the tool's name in it; several names make several calls unless `parallel_tool_calls` is false.

    Raises:
        ValueError: `messages` is missing or is no list of messages.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise ValueError("'messages' must be a list of at least one message")
    prompt_tokens = sum(len(pieces(text_of(each))) for each in messages)
    newest = messages[-1]
    text = text_of(newest)
    calls = tuple(_tool_calls(body, newest, text))
    if calls:
        return Answer((), calls, "tool_calls", prompt_tokens)
    return _limited(_say(body, model, newest, text), body, prompt_tokens)


def text_answer(body: Mapping[str, Any], model: str) -> Answer:
    """The answer of the older `/v1/completions`.

    Raises:
        ValueError: `prompt` is neither a text nor a list of one text.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise ValueError("'prompt' must be a text")  # noqa: TRY004 - the request's value is wrong, not the caller's type
    return _limited(echo_of(model, prompt), body, len(pieces(prompt)))


def echo_of(model: str, text: str) -> str:
    """What the echo answers to `text` in the name of `model`."""
    return f"This is the offline echo, standing in for {model}; no LLM was called. You wrote:\n\n{text}"


def pieces(text: str) -> list[str]:
    """`text` cut into words, each with the space after it. Joined they are `text` again."""
    return _PIECE.findall(text)


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message; of other parts only their kind, in brackets."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(
        str(part.get("text", "")) if part.get("type") == "text" else f"[{part.get('type')}]"
        for part in parts
        if isinstance(part, dict)
    )


def embedding(text: str, dimensions: int) -> list[float]:
    """A vector for `text`: `dimensions` numbers in -1..1 made from its hash."""
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(4 * dimensions)
    return [number / 2**31 for number in struct.unpack(f"<{dimensions}i", digest)]


def encoded(vector: Sequence[float]) -> str:
    """A vector as base64 of little-endian float32, which OpenAI's SDK asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _limited(text: str, body: Mapping[str, Any], prompt_tokens: int) -> Answer:
    words = pieces(text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < len(words):
        return Answer(tuple(words[:limit]), (), "length", prompt_tokens)
    return Answer(tuple(words), (), "stop", prompt_tokens)


def _say(body: Mapping[str, Any], model: str, newest: Mapping[str, Any], text: str) -> str:
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return json.dumps(_example((wanted.get("json_schema") or {}).get("schema") or {}, text))
    if isinstance(wanted, dict) and wanted.get("type") == "json_object":
        return json.dumps({"model": model, "echo": text})
    if newest.get("role") == "tool":
        return f"The tool {newest.get('tool_call_id', '')} answered: {text}"
    return echo_of(model, text)


def _tool_calls(body: Mapping[str, Any], newest: Mapping[str, Any], text: str) -> Iterator[ToolCall]:
    functions = [each.get("function") or {} for each in body.get("tools") or () if isinstance(each, dict)]
    choice = body.get("tool_choice", "auto")
    if choice == "none" or not functions:
        return
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        asked = [each for each in functions if each.get("name") == name]
    else:
        named = newest.get("role") == "user"
        asked = [each for each in functions if named and str(each.get("name")) in text]
        if choice == "required" and not asked:
            asked = functions[:1]
    if body.get("parallel_tool_calls") is False:
        asked = asked[:1]
    for index, function in enumerate(asked):
        arguments = json.dumps(_example(function.get("parameters") or {}, text))
        yield ToolCall(f"call_echo_{index}", str(function.get("name")), arguments)


def _example(schema: Mapping[str, Any], text: str) -> Any:
    """Something that fits a JSON schema, with `text` for each string."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: _example(each, text) for name, each in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [_example(schema.get("items") or {"type": "string"}, text)]
    return {"string": text, "integer": 1, "number": 0.5, "boolean": True}.get(kind)
