"""Answers that no well-kept server gives: without a model, without usage, JSON of another shape."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from routing_client.costs import Usage
from routing_client.endpoints import Endpoint
from routing_client.openai import RoutedOpenAI
from routing_client.openai._sdk import http
from routing_client.testing import FakeRoutingClient

from .conftest import EASY, STRONG, WEAK

URL = "https://api.example.com/v1"
MODEL = "router-fake-0.5"
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
COMPLETION = {"id": "1", "object": "chat.completion", "created": 1, "model": "up", "choices": [CHOICE]}
CHUNK = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 1,
    "choices": [{"index": 0, "delta": {"content": "h"}}],
}
MESSAGES: list[Any] = [{"role": "user", "content": EASY}]


def client_of(body: bytes, content_type: str = "application/json") -> RoutedOpenAI:
    """A client whose upstream answers `body`, whatever it is asked."""
    response = http.Response(200, content=body, headers={"content-type": content_type})
    return RoutedOpenAI(
        service=FakeRoutingClient(models=(STRONG, WEAK)),
        endpoints={
            STRONG: Endpoint(URL, input_price=1_000_000, output_price=1_000_000),
            WEAK: Endpoint(URL, input_price=1_000_000, output_price=1_000_000),
        },
        max_retries=0,
        http_client=http.Client(transport=http.MockTransport(lambda _: response)),
    )


@pytest.mark.parametrize("body", [b"null", b"[]", b"[1, 2]", b"5", b'"text"', b"true", b"", b"{"])
def test_what_is_no_json_object_is_an_error(body: bytes) -> None:
    client = client_of(body)
    with pytest.raises(openai.APIError, match="no JSON object"):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert client.costs.total.calls == 0


def test_an_answer_without_a_model_gets_the_routed_models_name() -> None:
    client = client_of(json.dumps({name: value for name, value in COMPLETION.items() if name != "model"}).encode())
    response: Any = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert response.model == response.routing.model
    assert response.routing.upstream_model is None


def test_chunks_without_a_model_get_the_routed_models_name() -> None:
    client = client_of(b"data: " + json.dumps(CHUNK).encode() + b"\n\ndata: [DONE]\n\n", "text/event-stream")
    stream: Any = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    assert [chunk.model for chunk in stream] == [stream.routing.model]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": None}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0)),
        (
            # The tokens of these details are in the sums already.
            {
                "prompt_tokens": 10,
                "completion_tokens": 20,
                "total_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(10, 20),
        ),
    ],
)
def test_usage_as_servers_report_it(usage: Any, expected: Usage | None) -> None:
    client = client_of(json.dumps({**COMPLETION, "usage": usage}).encode())
    response: Any = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert response.routing.usage == expected
    assert response.routing.cost == (None if expected is None else expected.input_tokens + expected.output_tokens)
    assert client.costs.total.calls_without_usage == (expected is None)
