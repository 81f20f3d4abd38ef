"""The wire format of `/v1/embeddings`, both ways: https://platform.openai.com/docs/api-reference/embeddings/create."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# OpenAI refuses requests of more than 300,000 tokens; a token has at least one byte.
MAX_REQUEST_BYTES = 262_144


class InvalidResponseError(Exception):
    """The answer does not have the format. The message never quotes it."""


@dataclass(frozen=True, slots=True)
class EmbeddingsResponse:
    """The vectors of one request, float32 of shape (texts, dimension), and the tokens read, None if not known."""

    vectors: npt.NDArray[np.float32]
    tokens: int | None


class Text(NamedTuple):
    """A text to send: its place in the batch, its UTF-8, and whether it was cut."""

    place: int
    raw: bytes
    truncated: bool

    def cut(self, size: int) -> Text:
        """The text with at most `size` bytes."""
        return self if len(self.raw) <= size else Text(self.place, _whole_characters(self.raw[:size]), True)


def plan_requests(
    texts: Sequence[str], max_batched_bytes: int, max_inputs: int, max_bytes: int
) -> Iterator[list[Text]]:
    """Group texts into requests of at most `max_inputs` texts and `MAX_REQUEST_BYTES` bytes.

    A text of more than `max_batched_bytes` bytes, which may be refused for its length, is sent alone: no
    other is refused with it. A text of more than `max_bytes` is cut first.
    """
    group: list[Text] = []
    size = 0
    for place, text in enumerate(texts):
        item = Text(place, text.encode("utf-8", "replace"), False).cut(max_bytes)
        if len(item.raw) > max_batched_bytes:
            yield [item]
            continue
        if len(group) >= max_inputs or (group and size + len(item.raw) > MAX_REQUEST_BYTES):
            yield group
            group, size = [], 0
        group.append(item)
        size += len(item.raw)
    if group:
        yield group


def encode_request(texts: Sequence[Text], model: str, encoding_format: str, dimensions: int | None) -> bytes:
    """The JSON body of a request."""
    body: dict[str, Any] = {"model": model, "input": [text.raw.decode() for text in texts]}
    body["encoding_format"] = encoding_format
    if dimensions is not None:
        body["dimensions"] = dimensions
    return json.dumps(body).encode()


def decode_answer(raw: bytes, texts: int, dimensions: int | None) -> EmbeddingsResponse:
    """Read an answer for `texts` texts, in either encoding.

    Args:
        raw: the body.
        texts: how many texts were sent.
        dimensions: the length that each vector must have; None for any, the same for all.

    Raises:
        InvalidResponseError: it is not an answer, has another number of vectors, or a vector has a wrong length, is not
            finite or is all zero.
    """
    try:
        body = json.loads(raw)
        items = body["data"]
        places = _places(items, texts)
        rows = [_vector(item["embedding"]) for item in items]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidResponseError("is not in the format of /v1/embeddings") from error
    lengths = {len(row) for row in rows}
    wanted = dimensions or next(iter(lengths))
    if lengths != {wanted}:
        raise InvalidResponseError(f"has vectors of length {', '.join(map(str, sorted(lengths)))}, not {wanted}")
    vectors = np.empty((texts, wanted), np.float32)
    vectors[places] = rows
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise InvalidResponseError("has vectors that are not finite, or all zero")
    return EmbeddingsResponse(vectors, _tokens(body))


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds, at least 0, that a `Retry-After` header asks for: a number or a date (RFC 9110, section 10.2.3).

    None when there is no header or it makes no sense.
    """
    if not header:
        return None
    header = header.strip()
    try:
        if header.isascii() and header.replace(".", "", 1).isdigit():
            return float(header)
        date = parsedate_to_datetime(header)
        return max(0.0, (date.astimezone(UTC) - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError):
        return None


def _whole_characters(raw: bytes) -> bytes:
    return raw.decode("utf-8", "ignore").encode()


def _places(items: list[Any], texts: int) -> list[int]:
    """The place of each item: its `index`, or its position if none has one."""
    if not isinstance(items, list) or len(items) != texts:
        raise ValueError("another number of vectors than of texts")
    indices = [item.get("index") for item in items]
    if all(index is None for index in indices):
        return list(range(texts))
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(texts)):
        raise ValueError("the indices are not those of the texts")
    return indices


def _vector(embedding: object) -> npt.NDArray[Any]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    values = np.asarray(embedding)
    # Strings, nulls and nested lists must not be read as numbers, as a cast would do.
    if values.ndim != 1 or values.dtype.kind not in "fi" or not len(values):
        raise ValueError("a vector is not a list of numbers")
    with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused
        return values.astype(np.float32)


def _tokens(body: dict[str, Any]) -> int | None:
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else None
