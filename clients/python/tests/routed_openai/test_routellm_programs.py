"""The two programs that RouteLLM's documentation gives, in our own words: only import and constructor are ours.

One calls a `Controller`; the other is a chat at an OpenAI client, which shows the model's name before each answer and
strips it again from what it sends back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from routing_client.endpoints import Endpoints
from routing_gateway.echo import EchoState

from .conftest import EASY, HARD, STRONG, WEAK


def test_the_quick_start(target: str, endpoints: Endpoints) -> None:
    # was: from routellm.controller import Controller
    from routing_client.controller import Controller

    client = Controller(
        routers=["mf"],
        strong_model=STRONG,
        weak_model=WEAK,
        service=target,  # new, as are the endpoints: where the service is, and where the models are
        endpoints=endpoints,
    )
    response = client.chat.completions.create(model="router-mf-0.11593", messages=[{"role": "user", "content": HARD}])
    assert response.choices[0].message.content.endswith(HARD)
    assert response.model == STRONG
    client.close()


def test_the_chat(target: str, endpoints: Endpoints, upstream: EchoState) -> None:
    # was: from openai import OpenAI
    from routing_client.openai import RoutedOpenAI as OpenAI

    client = OpenAI(service=target, endpoints=endpoints)  # was: OpenAI(api_key=..., base_url=...)

    def answer(message: str, history: list[tuple[str, str]], threshold: float, router: str) -> Iterator[str]:
        messages: list[Any] = [{"role": "system", "content": "Answer briefly."}]
        for asked, answered in history:
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": re.sub(r"^\[[^\]]*\]\s*", "", answered)})
        messages.append({"role": "user", "content": message})
        stream = client.chat.completions.create(
            model=f"router-{router}-{threshold}",
            messages=messages,
            temperature=0.8,
            stream=True,
            extra_body={"repetition_penalty": 1, "stop_token_ids": [2, 3]},
        )
        shown = ""
        for index, chunk in enumerate(stream):
            if index == 0:
                shown += f"[{chunk.model}]\n"
                yield shown
            shown += chunk.choices[0].delta.content or ""
            yield shown

    first = list(answer(HARD, [], 0.5, "mf"))
    assert first[0] == f"[{STRONG}]\n"
    assert first[-1].endswith(HARD)
    second = list(answer(EASY, [(HARD, first[-1])], 0.5, "mf"))
    assert second[0] == f"[{WEAK}]\n"
    sent = upstream.requests[1].body
    assert sent["stop_token_ids"] == [2, 3]
    assert not sent["messages"][2]["content"].startswith("[")
    client.close()


@pytest.mark.parametrize("threshold", [0.11593, 1e-05, 0, 1, 0.5])
def test_thresholds_as_their_programs_format_them(target: str, endpoints: Endpoints, threshold: float) -> None:
    from routing_client.controller import Controller

    with Controller(["mf"], STRONG, WEAK, service=target, endpoints=endpoints) as client:
        response = client.completion(model=f"router-mf-{threshold}", messages=[{"role": "user", "content": HARD}])
    assert response.routing.decision.threshold == threshold
