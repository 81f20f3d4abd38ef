"""RouteLLM's class, and its two ways to be called, with our own words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from routing_client import (
    Decision,
    DecisionReason,
    InvalidRequestError,
    ModelNameError,
    RouterFailedError,
    RoutingError,
    Tier,
    UnavailableError,
)
from routing_client.controller import Controller
from routing_client.endpoints import LITELLM, Endpoint, Endpoints
from routing_client.testing import FakeRoutingClient, FakeService
from routing_gateway.echo import RunningEcho

from .conftest import EASY, HARD, PATIENCE, STRONG, WEAK

OPTIONS = {"timeout": PATIENCE}
MESSAGES = [{"role": "user", "content": HARD}]


@pytest.fixture
def controller(target: str, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Controller(["fake"], STRONG, WEAK, service=target, service_options=OPTIONS, endpoints=endpoints) as made:
        yield made


def test_completions_are_routed_and_counted(controller: Controller) -> None:
    response = controller.chat.completions.create(model="router-fake-0.5", messages=MESSAGES)
    assert response.model == STRONG
    assert response.choices[0].message.content.endswith(HARD)
    assert response.routing.decision.strong_win_rate == 0.9
    controller.completion(router="fake", threshold=0.95, messages=MESSAGES, temperature=0.5)
    controller.completion(model="router-cheap", messages=[{"role": "user", "content": EASY}])
    controller.completion(model=STRONG, messages=MESSAGES)
    assert controller.model_counts == {"fake": {STRONG: 1, WEAK: 1}, "cheap": {WEAK: 1}}
    assert controller.costs.total.calls == 4


def test_streams(controller: Controller) -> None:
    stream = controller.chat.completions.create(model="router-fake-0.5", messages=MESSAGES, stream=True)
    prefix = None
    text = ""
    for chunk in stream:
        prefix = prefix or f"[{chunk.model}]"
        text += chunk.choices[0].delta.content or ""
    assert prefix == f"[{STRONG}]"
    assert text.endswith(HARD)


def test_asyncio_on_one_loop_after_another(controller: Controller) -> None:
    async def ask() -> list[Any]:
        calls = [controller.chat.completions.acreate(model="router-fake-0.5", messages=MESSAGES) for _ in range(4)]
        responses = await asyncio.gather(*calls)
        await controller.acompletion(router="fake", threshold=1.0, messages=MESSAGES)
        return responses

    for _ in range(2):
        assert {response.model for response in asyncio.run(ask())} == {STRONG}
    assert controller.model_counts == {"fake": {STRONG: 8, WEAK: 2}}


async def test_aclose_closes_all(target: str, endpoints: Endpoints) -> None:
    async with Controller(
        ["fake"], STRONG, WEAK, service=target, service_options=OPTIONS, endpoints=endpoints
    ) as controller:
        await controller.acompletion(model="router-fake-0.5", messages=MESSAGES)
    with pytest.raises(RuntimeError, match="closed"):
        await controller.acompletion(model="router-fake-0.5", messages=MESSAGES)
    with pytest.raises(RuntimeError, match="closed"):
        controller.completion(model="router-fake-0.5", messages=MESSAGES)


def test_route(controller: Controller) -> None:
    assert controller.route(HARD, "fake", 0.5) == STRONG
    assert controller.route(EASY, "fake", 0.5) == WEAK
    assert not controller.model_counts


class Series:
    """Of a pandas Series, what `batch_calculate_win_rate` uses."""

    def __init__(self, values: list[Any], index: list[int], name: str, dtype: type = object) -> None:
        self.values, self.index, self.name, self.dtype = values, index, name, dtype

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)


def test_win_rates_of_many(controller: Controller) -> None:
    assert controller.batch_calculate_win_rate([HARD, EASY], "fake") == [0.9, 0.2]
    assert controller.batch_calculate_win_rate((HARD,), "fake") == [0.9]
    assert controller.batch_calculate_win_rate([], "fake") == []
    series = controller.batch_calculate_win_rate(Series([HARD, EASY], [7, 3], "prompt"), "fake")
    assert isinstance(series, Series)
    assert (series.values, series.index, series.name, series.dtype) == ([0.9, 0.2], [7, 3], "prompt", float)
    # Of no values, pandas would make a Series of objects.
    assert controller.batch_calculate_win_rate(Series([], [], "prompt"), "fake").dtype is float


def test_a_prompt_that_cannot_be_scored_is_raised(controller: Controller, service: FakeService) -> None:
    with pytest.raises(InvalidRequestError):
        controller.batch_calculate_win_rate([HARD, ""], "fake")
    service.then(Decision(WEAK, Tier.WEAK, DecisionReason.FALLBACK, fallback_reason="ROUTER_FAILED"))
    with pytest.raises(RouterFailedError, match="no win rate"):
        controller.batch_calculate_win_rate([HARD], "fake")


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "router-other-0.5"},
        {"model": "router-fake-1.5"},
        {"router": "fake"},
        {"threshold": 0.5},
        {"router": "other", "threshold": 0.5},
        {"router": "fake", "threshold": 1.5},
        {"router": "fake", "threshold": "0.5"},
        {},
    ],
)
def test_wrong_arguments_call_nobody(controller: Controller, service: FakeService, arguments: dict[str, Any]) -> None:
    with pytest.raises(RoutingError):
        controller.completion(messages=MESSAGES, **arguments)
    assert not service.calls
    assert not controller.model_counts


def test_wrong_constructor_arguments() -> None:
    with pytest.raises(ValueError, match=r"routing\.yaml"):
        Controller(["mf"], STRONG, WEAK, {"mf": {}})  # type: ignore[arg-type]  # what a RouteLLM user may still have
    with pytest.raises(ValueError, match="list of names"):
        Controller("mf", STRONG, WEAK)
    with pytest.raises(ValueError, match="service must be host:port, not FakeRoutingClient"):
        Controller(["mf"], STRONG, WEAK, service=FakeRoutingClient())  # type: ignore[arg-type]  # it is wrong
    with pytest.raises(ValueError, match="both 'a'"):
        Controller(["mf"], "a", "a")


def test_route_wants_a_router_of_its_own(controller: Controller) -> None:
    with pytest.raises(InvalidRequestError, match="was made for: fake"):
        controller.route(HARD, "mf", 0.5)
    with pytest.raises(ModelNameError):
        controller.completion(router="fake", threshold=-0.5, messages=MESSAGES)


def test_an_api_base_serves_both_models(target: str, echo: RunningEcho) -> None:
    with Controller(
        ["fake"], "openai/big", "small", None, echo.base_url, "sk-own", service=target, service_options=OPTIONS
    ) as controller:
        response = controller.completion(model="router-fake-0.5", messages=MESSAGES)
        assert (response.model, response.routing.upstream_model) == ("openai/big", "big")
        controller.completion(model="router-fake-0.5", messages=[{"role": "user", "content": EASY}])
    assert [each.body["model"] for each in echo.state.requests] == ["big", "small"]
    assert {each.headers["authorization"] for each in echo.state.requests} == {"Bearer sk-own"}


def test_provider_names_go_through_litellm(endpoints: Endpoints) -> None:
    with Controller(["fake"], STRONG, "anyscale/mixtral", api_key="sk-any", endpoints=endpoints) as controller:
        assert controller._endpoints["anyscale/mixtral"] == Endpoint(
            LITELLM, api_key="sk-any", upstream_model="anyscale/mixtral"
        )
        assert controller._endpoints[STRONG] is endpoints[STRONG]


def test_fallback_and_failover(target: str, endpoints: Endpoints, service: FakeService) -> None:
    dead = replace(endpoints, models={**endpoints, STRONG: Endpoint("http://127.0.0.1:9/v1")})
    with Controller(
        ["fake"],
        STRONG,
        WEAK,
        service=target,
        service_options=OPTIONS,
        endpoints=dead,
        failover=True,
        fallback_model=WEAK,
    ) as controller:
        response = controller.completion(model="router-fake-0.5", messages=MESSAGES)
        assert (response.model, response.routing.failed_over_from) == (WEAK, STRONG)
        service.failure = UnavailableError("down")
        assert controller.completion(model="router-fake-0.5", messages=MESSAGES).routing.fallback == "UNAVAILABLE"
    assert controller.model_counts == {"fake": {STRONG: 1, WEAK: 1}}


def test_threads_count_all(controller: Controller) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: controller.completion(model="router-fake-0.5", messages=MESSAGES), range(40)))
    assert controller.model_counts["fake"][STRONG] == 40
