"""The SDK's own surface, through a routed model."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import openai
import pydantic
import pytest
from routing_client.costs import Usage
from routing_client.openai import RoutedOpenAI, Routing, routing_of
from routing_client.testing import FakeService
from routing_gateway.echo import EchoState

from .conftest import EASY, HARD, STRONG, WEAK, Face

MODEL = "router-fake-0.5"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_the_model_is_chosen_by_the_prompt(face: Face, upstream: EchoState) -> None:
    strong, weak = face.create(MODEL, HARD), face.create(MODEL, EASY)
    assert (strong.model, weak.model) == (STRONG, WEAK)
    assert (strong.routing.upstream_model, weak.routing.upstream_model) == ("up-big", "small")
    assert [each.body["model"] for each in upstream.requests] == ["up-big", "small"]
    assert [each.headers["authorization"] for each in upstream.requests] == ["Bearer sk-big", "Bearer sk-small"]
    routing = routing_of(strong)
    assert routing.is_routed
    assert routing.decision is not None
    assert (routing.decision.strong_win_rate, routing.decision.threshold) == (0.9, 0.5)
    assert (routing.fallback, routing.failed_over_from) == (None, None)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("router-fake-0.11593", {"router": "fake", "threshold": 0.11593}),
        ("router-fake-25pct", {"router": "fake", "strong_share": 0.25}),
        ("router-cheap", {"policy": "cheap", "router": ""}),
        ("router-fake", {"policy": "", "router": "fake", "threshold": None}),
    ],
)
def test_what_the_service_is_asked(face: Face, service: FakeService, model: str, asked: dict[str, Any]) -> None:
    face.create(model, "prove")
    assert {name: getattr(service.calls[0], name) for name in asked} == asked


def test_the_newest_user_message_is_routed_on(face: Face, service: FakeService) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "say hi"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "prove it"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    assert face.create(MODEL, messages=messages).model == STRONG
    assert service.calls[0].text == "prove it"


def test_another_model_is_called_directly(face: Face, service: FakeService) -> None:
    response = face.create(STRONG, EASY)
    assert response.model == "up-big"  # what the upstream says, untouched
    assert not service.calls
    assert response.routing == Routing(
        STRONG,
        upstream_model="up-big",
        usage=response.routing.usage,
        cost=response.routing.cost,
        all_strong_cost=response.routing.cost,
    )
    assert not response.routing.is_routed


def test_everything_reaches_the_upstream_untouched(face: Face, upstream: EchoState) -> None:
    content = [
        {"type": "text", "text": "prove what is here"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
    ]
    arguments: dict[str, Any] = {
        "messages": [{"role": "user", "content": content, "name": "someone"}],
        "tools": [WEATHER],
        "tool_choice": "none",
        "response_format": {"type": "json_object"},
        "temperature": 0.25,
        "seed": 7,
        "logit_bias": {"5": -100},
        "stop": ["###"],
    }
    extra = {"repetition_penalty": 1, "nested": {"stop_token_ids": [1, 2]}}
    face.create(MODEL, **arguments, extra_body=extra, extra_headers={"x-team": "a"}, extra_query={"q": "1"})
    request = upstream.requests[0]
    assert request.body == {"model": "up-big", **arguments, **extra}
    assert request.headers["x-team"] == "a"


def test_a_model_in_extra_body_is_the_model(face: Face, upstream: EchoState) -> None:
    assert face.create("ignored", HARD, extra_body={"model": MODEL}).model == STRONG
    assert upstream.requests[0].body["model"] == "up-big"


def test_tools(face: Face) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    response = face.create(MODEL, HARD, tools=[WEATHER], tool_choice=choice)
    assert response.choices[0].message.tool_calls[0].function.name == "weather"
    assert response.model == STRONG


def test_streams(face: Face) -> None:
    stream = face.create(MODEL, HARD, stream=True, stream_options={"include_usage": True})
    assert routing_of(stream).decision is not None
    assert routing_of(stream).usage is None
    chunks = face.chunks(stream)
    assert {chunk.model for chunk in chunks} == {STRONG}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.endswith(HARD)
    usage = chunks[-1].usage
    assert stream.routing.usage == Usage(usage.prompt_tokens, usage.completion_tokens)
    assert stream.routing.upstream_model == "up-big"
    assert stream.routing.cost == pytest.approx((10 * usage.prompt_tokens + 30 * usage.completion_tokens) / 1e6)


def test_a_stream_without_usage_has_an_unknown_cost(face: Face, upstream: EchoState) -> None:
    stream = face.create(MODEL, HARD, stream=True)
    face.chunks(stream)
    assert (stream.routing.usage, stream.routing.cost) == (None, None)
    assert "stream_options" not in upstream.requests[0].body
    total = face.client.costs.total
    assert (total.calls, total.calls_without_usage, total.spent) == (1, 1, 0.0)


def test_raw_responses(face: Face) -> None:
    messages = [{"role": "user", "content": HARD}]
    raw = face.run(lambda client: client.chat.completions.with_raw_response.create(model=MODEL, messages=messages))
    assert raw.routing.model == STRONG
    assert b'"up-big"' in raw.content
    assert raw.headers["x-request-id"] == "echo"
    assert face.client.costs.total.calls_without_usage == 1
    parsed = raw.parse()
    assert parsed.model == STRONG
    assert parsed.routing is raw.routing
    assert raw.routing.usage is not None
    raw.parse()
    assert face.client.costs.total.calls == 1
    assert face.client.costs.total.calls_without_usage == 0


def test_raw_streams(face: Face) -> None:
    messages = [{"role": "user", "content": HARD}]
    raw = face.run(
        lambda client: client.chat.completions.with_raw_response.create(model=MODEL, messages=messages, stream=True)
    )
    stream = raw.parse()
    assert stream.routing is raw.routing
    assert {chunk.model for chunk in face.chunks(stream)} == {STRONG}


def test_streaming_responses(face: Face) -> None:
    messages = [{"role": "user", "content": HARD}]

    def sync(client: Any) -> tuple[Any, list[str]]:
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=messages) as response:
            return response.routing, list(response.iter_lines())

    async def asynchronous(client: Any) -> tuple[Any, list[str]]:
        async with client.chat.completions.with_streaming_response.create(model=MODEL, messages=messages) as response:
            return response.routing, [line async for line in response.iter_lines()]

    routing, lines = face.run(sync if isinstance(face.client, RoutedOpenAI) else asynchronous)
    assert routing.model == STRONG
    assert "up-big" in lines[0]


class Proof(pydantic.BaseModel):
    claim: str
    steps: int


def test_parse(face: Face) -> None:
    messages = [{"role": "user", "content": HARD}]
    parsed = face.run(
        lambda client: client.chat.completions.parse(model=MODEL, messages=messages, response_format=Proof)
    )
    assert parsed.choices[0].message.parsed == Proof(claim=HARD, steps=1)
    assert parsed.model == STRONG
    assert parsed.routing.decision.is_strong
    assert face.client.costs.total.calls == 1


def test_the_stream_helper(face: Face) -> None:
    arguments: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": HARD}]}

    def sync(client: Any) -> tuple[Any, list[str], Any]:
        with client.chat.completions.stream(**arguments) as stream:
            return stream.routing, [event.type for event in stream], stream.get_final_completion()

    async def asynchronous(client: Any) -> tuple[Any, list[str], Any]:
        async with client.chat.completions.stream(**arguments) as stream:
            return stream.routing, [event.type async for event in stream], await stream.get_final_completion()

    routing, events, final = face.run(sync if isinstance(face.client, RoutedOpenAI) else asynchronous)
    assert routing.model == STRONG
    assert "content.delta" in events
    assert final.model == STRONG
    assert routing_of(final) is routing
    assert final.choices[0].message.content.endswith(HARD)


def test_completions(face: Face, service: FakeService) -> None:
    response = face.run(lambda client: client.completions.create(model=MODEL, prompt=HARD))
    assert (response.model, response.routing.upstream_model) == (STRONG, "up-big")
    stream = face.run(lambda client: client.completions.create(model=MODEL, prompt=[EASY], stream=True))
    assert {chunk.model for chunk in face.chunks(stream)} == {WEAK}
    assert [call.text for call in service.calls] == [HARD, EASY]


def test_embeddings_and_models(face: Face, upstream: EchoState) -> None:
    response = face.run(lambda client: client.embeddings.create(model=WEAK, input="one"))
    assert len(response.data[0].embedding) == 8
    assert response.routing.usage == Usage(1, 0)
    with pytest.raises(ValueError, match="/embeddings"):
        face.run(lambda client: client.embeddings.create(model=MODEL, input="one"))
    assert len(upstream.requests) == 1


def test_responses_are_copied_pickled_and_dumped_as_the_sdks_own(face: Face) -> None:
    response = face.create(MODEL, HARD)
    assert "routing" not in response.model_dump()
    assert "routing" not in response.to_json()
    for other in (copy.deepcopy(response), pickle.loads(pickle.dumps(response)), response.model_copy(deep=True)):  # noqa: S301 (what this test made)
        assert other == response
        assert other.routing == response.routing


def test_routing_of_other_things() -> None:
    with pytest.raises(TypeError, match="not a response of a RoutedOpenAI"):
        routing_of("x")


def test_it_is_an_openai_client(face: Face) -> None:
    assert isinstance(face.client, openai.OpenAI | openai.AsyncOpenAI)
