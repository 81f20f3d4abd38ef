"""Scores of recent prompts: what is kept, for whom, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from routing_service.config import Config, FallbackConfig
from routing_service.engine.cache import MAX_CACHED_PROMPT_LENGTH, ScoreCache
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.engine.scoring import Scored
from routing_service.engine.types import Decision, RouteRequest, ScoreSource
from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores

PAIR = ModelPair("big", "small")


class CountingRouter(Router):
    """Remembers what it was asked to score; raises for the prompt `raise`."""

    type: ClassVar[str] = "counting"

    def __init__(self, *, inline: bool, deterministic: bool = True) -> None:
        super().__init__(models=PAIR)
        self.inline, self.deterministic = inline, deterministic  # type: ignore[misc] # per instance, for the test
        self.asked: list[str] = []

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        self.asked += texts
        if "raise" in texts:
            raise RuntimeError("no")
        return Scores([min(1.0, len(text) / 10) for text in texts], [1] * len(texts), [False] * len(texts), 5.0, 5.0)


def engine(router: Router, capacity: int = 100) -> Engine:
    return Engine({"static": router}, Planner({"static": router}, Config()), FallbackConfig(), capacity)


async def test_a_prompt_that_comes_again_is_not_scored_again() -> None:
    for inline in (True, False):
        router = CountingRouter(inline=inline)
        service = engine(router)
        first = await service.decide_async(RouteRequest("hello"))
        again = await service.decide_async(RouteRequest("hello", threshold=0.9))
        assert router.asked == ["hello"]
        assert (first.source, again.source) == (ScoreSource.FRESH, ScoreSource.CACHED)
        assert again.strong_win_rate == first.strong_win_rate == 0.5
        assert (again.tokenize_us, again.inference_us, again.prompt_tokens) == (0, 0, 1)
        assert (first.tier.name, again.tier.name) == ("STRONG", "WEAK")
        batch = await service.decide_batch_async([RouteRequest(t) for t in ("hello", "new", "hello")])
        assert router.asked == ["hello", "new"]
        assert [isinstance(d, Decision) and d.source.name for d in batch] == ["CACHED", "FRESH", "CACHED"]
        service.close()


async def test_chance_and_errors_are_not_kept() -> None:
    dice = CountingRouter(inline=True, deterministic=False)
    service = engine(dice)
    for _ in range(2):
        await service.decide_async(RouteRequest("hello"))
        await service.decide_batch_async([RouteRequest("raise")])
    assert dice.asked == ["hello", "raise"] * 2
    router = CountingRouter(inline=True)
    service = engine(router)
    for _ in range(2):
        (result,) = await service.decide_batch_async([RouteRequest("raise")])
        assert isinstance(result, DecisionError)
    assert router.asked == ["raise", "raise"]


async def test_no_capacity_is_no_cache() -> None:
    router = CountingRouter(inline=True)
    service = engine(router, 0)
    for _ in range(2):
        assert (await service.decide_async(RouteRequest("hello"))).source is ScoreSource.FRESH
    assert router.asked == ["hello", "hello"]


def test_the_longest_unused_leaves_first() -> None:
    cache = ScoreCache(2)
    keys = [cache.key("r", PAIR, text) for text in "abc"]
    for key in keys[:2]:
        cache.put(key, Scored(0.1, 1, False, 1.0, 1.0))
    assert cache.get(keys[0]) is not None
    cache.put(keys[2], Scored(0.1, 1, False, 1.0, 1.0))
    assert [cache.get(key) is not None for key in keys] == [True, False, True]


def test_keys_tell_router_models_and_prompt_apart_and_hold_no_prompt() -> None:
    cache = ScoreCache(10)
    asked = [("r", PAIR, "text"), ("q", PAIR, "text"), ("r", ModelPair("big", "other"), "text"), ("r", PAIR, "text ")]
    keys = [cache.key(*each) for each in asked]
    assert len(set(keys)) == len(asked)
    assert keys[0] == cache.key(*asked[0])
    assert all("text" not in repr(key) for key in keys)
    assert cache.key("r", PAIR, "lone \ud800 surrogate") is not None
    assert cache.key("r", PAIR, "x" * (MAX_CACHED_PROMPT_LENGTH + 1)) is None


def test_an_error_is_never_put() -> None:
    cache = ScoreCache(10)
    key = cache.key("r", PAIR, "x")
    cache.put(key, DecisionError(Reason.ROUTER_FAILED, "No."))
    assert cache.get(key) is None
