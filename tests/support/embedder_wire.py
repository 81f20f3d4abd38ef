"""The `openai` embedder over a transport of the test's own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from routing_service.embedders.openai import OpenAIEmbedder
from routing_service.embedders.openai_options import OpenAIOptions
from routing_service.errors import DecisionError, Reason

httpx = pytest.importorskip("httpx", reason="the extra `openai` is not installed")

KEY, PROMPT = "sk-swordfish", "the prompt nobody may see"


def good(request: Any) -> Any:
    """Each text's vector is (its length, its place)."""
    texts = json.loads(request.content)["input"]
    data = [{"index": i, "embedding": [float(len(text)), float(i)]} for i, text in enumerate(texts)]
    return httpx.Response(200, json={"data": data, "usage": {"prompt_tokens": 3}})


class Wire:
    """A transport that answers each request with the next of `answers`, the last again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, request: Any) -> Any:
        self.bodies.append(json.loads(request.content))
        self.headers.append(dict(request.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return httpx.Response(answer)
        result = answer(request) if callable(answer) else answer
        return await result if asyncio.iscoroutine(result) else result


async def hang(_request: Any) -> Any:
    await asyncio.sleep(60)


@contextmanager
def embedder(wire: Any, key: str | None = None, **options: Any) -> Iterator[OpenAIEmbedder]:
    given = {"model": "m", "base_url": "http://127.0.0.1:1/v1", "max_parallel_requests": 2, **options}
    made = OpenAIEmbedder("e", OpenAIOptions(**given), key, httpx.MockTransport(wire))
    try:
        yield made
    finally:
        made.close()


def failure(tested: OpenAIEmbedder, *texts: str) -> DecisionError:
    with pytest.raises(DecisionError) as caught:
        tested.embed(texts or (PROMPT,))
    assert caught.value.reason is Reason.EMBEDDER_UNAVAILABLE
    assert caught.value.retry_seconds is not None
    assert caught.value.retry_seconds > 0
    return caught.value


def pass_time(tested: OpenAIEmbedder, seconds: float) -> None:
    """Let the embedder's circuit breaker think that so many seconds have passed."""
    tested._remote.breaker._clock = lambda: time.monotonic() + seconds
