"""The wire format of /v1/embeddings: what goes out, and what of an answer is believed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.embedders.openai_wire import (
    MAX_REQUEST_BYTES,
    InvalidResponseError,
    Text,
    decode_answer,
    encode_request,
    plan_requests,
    retry_after,
)


def item(embedding: Any, index: int | None = 0) -> dict[str, Any]:
    return {"embedding": embedding, **({} if index is None else {"index": index})}


def decode(*items: Any, texts: int | None = None, dimensions: int | None = None) -> list[list[float]]:
    body = json.dumps({"data": items}).encode()
    rows: list[list[float]] = decode_answer(body, len(items) if texts is None else texts, dimensions).vectors.tolist()
    return rows


def packed(*values: float) -> str:
    return base64.b64encode(np.array(values, "<f4").tobytes()).decode()


@given(st.lists(st.text(max_size=40), min_size=1, max_size=30), st.integers(1, 20), st.integers(1, 8))
def test_every_text_is_sent_once_and_long_ones_alone(texts: list[str], max_tokens: int, max_inputs: int) -> None:
    requests = list(plan_requests(texts, max_tokens, max_inputs, 16 * max_tokens))
    sent = [text for request in requests for text in request]
    assert sorted(text.place for text in sent) == list(range(len(texts)))
    for request in requests:
        assert 1 <= len(request) <= max_inputs
        assert len(request) == 1 or all(len(text.raw) <= max_tokens for text in request)
    for text in sent:
        whole = texts[text.place].encode("utf-8", "replace")
        assert whole.startswith(text.raw)
        assert text.truncated == (text.raw != whole)
        assert text.truncated or len(whole) <= 16 * max_tokens


def test_a_request_holds_no_more_than_an_endpoint_takes() -> None:
    requests = list(plan_requests(["x" * 8000] * 70, 8191, 1000, 131_056))
    assert len(requests) == 3
    assert all(sum(len(text.raw) for text in request) <= MAX_REQUEST_BYTES for request in requests)


@given(st.text(max_size=50), st.integers(0, 60))
def test_a_cut_never_splits_a_character(text: str, size: int) -> None:
    cut = Text(0, text.encode("utf-8", "replace"), False).cut(size)
    assert len(cut.raw) <= size or not cut.truncated
    assert cut.raw.decode() == text.encode("utf-8", "replace").decode()[: len(cut.raw.decode())]


def test_a_body_says_what_is_asked() -> None:
    body = json.loads(encode_request([Text(0, "é".encode(), False)], "m", "base64", 256))
    assert body == {"model": "m", "input": ["é"], "encoding_format": "base64", "dimensions": 256}
    assert "dimensions" not in json.loads(encode_request([Text(0, b"x", False)], "m", "float", None))


def test_vectors_come_as_numbers_or_base64() -> None:
    assert decode(item([1, 2.5]), item(packed(3.0, 4.0), 1)) == [[1.0, 2.5], [3.0, 4.0]]


def test_vectors_are_put_where_their_index_says() -> None:
    assert decode(item([1.0], 2), item([2.0], 0), item([3.0], 1)) == [[2.0], [3.0], [1.0]]


def test_without_any_index_the_order_counts() -> None:
    assert decode(item([1.0], None), item([2.0], None)) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    "items",
    [
        [],
        [item([1.0])],
        [item([1.0], 0), item([1.0], 1), item([1.0], 2)],
        [item([1.0], 0), item([1.0], 0)],
        [item([1.0], 0), item([1.0], 2)],
        [item([1.0], 0), item([1.0], None)],
        [item([1.0], 0), {"embedding": [1.0], "index": True}],
        [item([1.0], 0), {"embedding": [1.0], "index": "1"}],
        [item([1.0], 0), item([1.0, 2.0], 1)],
        [item([1.0], 0), item([float("nan")], 1)],
        [item([1.0], 0), item([float("inf")], 1)],
        [item([1.0], 0), item([1e39], 1)],
        [item([1.0], 0), item([0.0], 1)],
        [item([1.0], 0), item([], 1)],
        [item([1.0], 0), item([[1.0]], 1)],
        [item([1.0], 0), item(["1.0"], 1)],
        [item([1.0], 0), item([None], 1)],
        [item([1.0], 0), item([True], 1)],
        [item([1.0], 0), item([10**400], 1)],
        [item([1.0], 0), item(None, 1)],
        [item([1.0], 0), item({"0": 1.0}, 1)],
        [item([1.0], 0), item("not base64!", 1)],
        [item([1.0], 0), item(base64.b64encode(b"12345").decode(), 1)],
        [item([1.0], 0), item(packed(float("nan")), 1)],
        [item([1.0], 0), {"index": 1}],
        [item([1.0], 0), "text"],
        [item([1.0], 0), None],
    ],
)
def test_what_is_not_two_finite_vectors_of_one_length_is_refused(items: list[Any]) -> None:
    with pytest.raises(InvalidResponseError):
        decode(*items, texts=2)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"{}", b'{"data": null}', b'{"data": 3}', b"\xff", b"[" * 100_000]
)
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        decode_answer(body, 1, None)


def test_a_wanted_length_is_held() -> None:
    assert decode(item([1.0, 2.0]), dimensions=2) == [[1.0, 2.0]]
    with pytest.raises(InvalidResponseError, match="length 2, not 3"):
        decode(item([1.0, 2.0]), dimensions=3)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        decode_answer(body, 1, None)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7}, 7),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": "7"}, None),
        (None, None),
        ([], None),
    ],
)
def test_tokens_are_those_of_the_usage(usage: Any, tokens: int | None) -> None:
    body = json.dumps({"data": [item([1.0])], "usage": usage}).encode()
    assert decode_answer(body, 1, None).tokens == tokens


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("2", 2.0),
        (" 0.5 ", 0.5),
        ("-3", None),
        ("soon", None),
        ("1e400", None),
        ("٣", None),
        ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 10, 21, 7, 28, tzinfo=UTC)) == seconds
