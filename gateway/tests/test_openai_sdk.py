"""The official OpenAI SDK for Python, unchanged, against the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from routing_client import UnavailableError
from routing_client.testing import FakeService
from routing_gateway.echo import RunningEcho

from .conftest import Gateway, MakeGateway

openai = pytest.importorskip("openai", reason="the extra `openai` is not installed")
httpx = pytest.importorskip("httpx")  # comes with it

HARD: Any = [{"role": "user", "content": "a hard one"}]
EASY: Any = [{"role": "user", "content": "an easy one"}]
MODEL = "router-fake-0.5"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Any]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-caller", max_retries=0, timeout=20) as made:
        yield made


def test_a_plain_call(client: Any, echo: RunningEcho) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HARD, temperature=0.25, extra_body={"new": [1]})
    assert answer.model == "big"
    assert answer.choices[0].message.content.endswith("a hard one")
    assert answer.usage.total_tokens > 0
    received = echo.state.requests[-1]
    assert received.headers["authorization"] == "Bearer sk-caller"
    assert (received.body["temperature"], received.body["new"]) == (0.25, [1])


def test_the_decision_is_in_the_raw_headers(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=EASY)
    assert (raw.headers["x-routing-model"], raw.headers["x-routing-win-rate"]) == ("small", "0.1")
    assert raw.parse().model == "small"


def test_a_stream(client: Any) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=HARD, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {"big"}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.endswith("a hard one")
    assert chunks[-1].usage.completion_tokens > 0


def test_tools_and_their_results(client: Any) -> None:
    asked = [{"role": "user", "content": "weather in a hard place"}]
    called = client.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER], tool_choice="auto")
    (call,) = called.choices[0].message.tool_calls
    assert (called.model, call.function.name) == ("big", "weather")
    results: Any = [
        *asked,
        called.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    answer = client.chat.completions.create(model=MODEL, messages=results, tools=[WEATHER])
    assert answer.model == "big", "routed on the newest words of the user"
    assert answer.choices[0].message.content.endswith("sunny")


def test_parallel_tool_calls_in_a_stream(client: Any) -> None:
    asked: Any = [{"role": "user", "content": "weather and clock"}]
    names: dict[int, str] = {}
    for chunk in client.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER, CLOCK], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            names.setdefault(call.index, call.function.name or "")
    assert names == {0: "weather", 1: "clock"}


def test_structured_output(client: Any) -> None:
    from pydantic import BaseModel

    class Reply(BaseModel):
        words: str

    answer = client.chat.completions.parse(model=MODEL, messages=EASY, response_format=Reply)
    assert answer.choices[0].message.parsed == Reply(words="an easy one")


def test_many_at_once(client: Any) -> None:
    def ask(number: int) -> tuple[int, str, str]:
        kind = "hard" if number % 2 else "easy"
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": f"{kind} {number}"}])
        return number, answer.model, answer.choices[0].message.content.split()[-1]

    with ThreadPoolExecutor(16) as pool:
        for number, model, said in pool.map(ask, range(100)):
            assert (model, said) == ("big" if number % 2 else "small", str(number))


def test_models_and_embeddings(client: Any) -> None:
    assert [each.id for each in client.models.list()] == ["router-cheap", "router-fake", "big", "small"]
    assert client.models.retrieve("router-fake-0.3").id == "router-fake-0.3"
    assert len(client.embeddings.create(model="emb", input="x").data[0].embedding) > 0
    assert client.completions.create(model="big", prompt="x").choices[0].text


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("router-fake-7", "BadRequestError", "invalid_model"),
        ("router-nowhere", "NotFoundError", "policy_not_found"),
        ("big#status=401", "AuthenticationError", "echo_fault"),
        ("big#status=429", "RateLimitError", "echo_fault"),
        ("big#status=500", "InternalServerError", "echo_fault"),
    ],
)
def test_errors_are_those_of_the_sdk(client: Any, model: str, error: str, code: str) -> None:
    with pytest.raises(getattr(openai, error)) as raised:
        client.chat.completions.create(model=model, messages=EASY)
    assert raised.value.code == code


def test_an_outage_is_an_error_of_the_sdk(client: Any, fake: FakeService) -> None:
    fake.failure = UnavailableError("down")
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=MODEL, messages=EASY)
    assert (raised.value.status_code, raised.value.code) == (503, "unavailable")


def test_the_sdks_own_retries_find_a_service_that_is_back(gateway: Gateway, fake: FakeService) -> None:
    fake.then(UnavailableError("starting"))
    with openai.OpenAI(base_url=gateway.base_url, api_key="x", max_retries=1, timeout=20) as client:
        assert client.chat.completions.create(model=MODEL, messages=EASY).model == "small"


def test_a_stream_that_breaks_is_an_error(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    with openai.OpenAI(base_url=gateway.base_url, api_key="x", max_retries=0, timeout=20) as client:
        stream = client.chat.completions.create(model="big#broken=3", messages=EASY, stream=True)
        assert [chunk.model for _, chunk in zip(range(3), stream, strict=False)] == ["big"] * 3
        # The SDK before its version 3 lets its transport's own error through.
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
            next(stream)
    assert gateway.state.upstreams.health["default"].state == "broken"


def test_a_caller_that_leaves_in_mid_stream_ends_the_upstreams_call(
    client: Any, echo: RunningEcho, gateway: Gateway, eventually: Callable[..., None]
) -> None:
    stream = client.chat.completions.create(model="big#endless,pace=0.01", messages=EASY, stream=True)
    for _, chunk in zip(range(5), stream, strict=False):
        assert chunk.choices
    assert echo.state.counters.open == 1
    stream.close()
    eventually(lambda: echo.state.counters.aborted == 1, "the upstream notices")
    eventually(lambda: gateway.state.in_flight == 0, "the gateway is done")


def test_a_caller_that_leaves_before_the_first_byte_ends_the_upstreams_call(
    gateway: Gateway, echo: RunningEcho, eventually: Callable[..., None]
) -> None:
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key="x", max_retries=0, timeout=0.2) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model="big#hang", messages=EASY)
    eventually(lambda: echo.state.counters.aborted == 1, "the upstream notices")
    eventually(lambda: gateway.state.in_flight == 0, "the gateway is done")


def test_the_asynchronous_client(gateway: Gateway) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key="x", max_retries=0, timeout=20) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model=MODEL, messages=each) for each in (HARD, EASY) * 10)
            )
            return [each.model for each in answers]

    assert asyncio.run(ask()) == ["big", "small"] * 10
