"""Batching off the event loop: order, budget, bound, cancellation, failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import ClassVar

import pytest

from routing_service.engine import batcher as batcher_module
from routing_service.engine.batcher import Batcher
from routing_service.engine.scoring import Scored
from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores

PAIR, OTHER_PAIR = ModelPair("big", "small"), ModelPair("big", "other")


class SlowRouter(Router):
    """Scores a prompt by its length, once it is let go; remembers its batches."""

    type: ClassVar[str] = "slow"

    def __init__(self, concurrency: int = 1) -> None:
        super().__init__(models=PAIR)
        self.concurrency = concurrency
        self.batches: list[list[str]] = []
        self.go, self.entered = threading.Event(), threading.Semaphore(0)

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        self.batches.append(list(texts))
        self.entered.release()
        assert self.go.wait(10)
        if "poison" in texts:
            raise RuntimeError("no")
        if "outage" in texts:
            raise DecisionError(Reason.EMBEDDER_UNAVAILABLE, "Down.", retry_seconds=1)
        return Scores([len(text) / 100 for text in texts], None, [False] * len(texts), 3.0, 6.0)


@pytest.fixture
def router() -> SlowRouter:
    return SlowRouter()


async def busy(batcher: Batcher, router: SlowRouter) -> asyncio.Task[Scored | DecisionError]:
    """Occupy the router's only worker, so that what follows waits."""
    first = asyncio.create_task(batcher.score("first", PAIR))
    await asyncio.to_thread(router.entered.acquire, timeout=10)
    return first


async def test_what_waits_is_scored_together(router: SlowRouter) -> None:
    batcher = Batcher(router)
    first = await busy(batcher, router)
    others = [asyncio.create_task(batcher.score("x" * n, PAIR)) for n in range(1, 6)]
    await asyncio.sleep(0)
    router.go.set()
    scored = await asyncio.gather(first, *others)
    assert router.batches == [["first"], ["x" * n for n in range(1, 6)]]
    assert [s.strong_win_rate for s in scored if isinstance(s, Scored)] == [0.05, 0.01, 0.02, 0.03, 0.04, 0.05]
    last = scored[-1]
    assert isinstance(last, Scored)
    assert last.queue_us > 0
    assert (last.tokenize_us, last.inference_us) == (3.0 / 5, 6.0 / 5)
    batcher.close()


async def test_a_lone_prompt_does_not_wait(router: SlowRouter) -> None:
    router.go.set()
    batcher = Batcher(router)
    assert isinstance(await asyncio.wait_for(batcher.score("now", PAIR), 5), Scored)
    assert isinstance(await asyncio.wait_for(batcher.score("again", PAIR), 5), Scored)
    assert router.batches == [["now"], ["again"]]
    batcher.close()


async def test_a_batch_has_a_budget_and_one_pair(router: SlowRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "BATCH_CHARACTERS", 10)
    monkeypatch.setattr(batcher_module, "BATCH_PROMPTS", 3)
    batcher = Batcher(router)
    first = await busy(batcher, router)
    wanted = [("aaaa", PAIR), ("bbbbbb", PAIR), ("c", PAIR), ("d", OTHER_PAIR), ("e" * 50, OTHER_PAIR)]
    wanted += [(letter, PAIR) for letter in "fghi"]
    tasks = [asyncio.create_task(batcher.score(text, pair)) for text, pair in wanted]
    await asyncio.sleep(0)
    router.go.set()
    await asyncio.gather(first, *tasks)
    assert router.batches[1:] == [["aaaa", "bbbbbb"], ["c"], ["d"], ["e" * 50], ["f", "g", "h"], ["i"]]
    batcher.close()


async def test_a_full_queue_refuses_at_once_and_recovers(router: SlowRouter) -> None:
    batcher = Batcher(router, max_waiting=2)
    first = await busy(batcher, router)
    waiting = [asyncio.create_task(batcher.score(text, PAIR)) for text in ("a", "b")]
    await asyncio.sleep(0)
    refused = await asyncio.wait_for(batcher.score("c", PAIR), 1)
    assert isinstance(refused, DecisionError)
    assert (refused.reason, refused.retry_seconds) == (Reason.OVERLOADED, batcher_module.RETRY_SECONDS)
    # A caller that has gone makes room.
    waiting[0].cancel()
    await asyncio.sleep(0)
    fourth = asyncio.create_task(batcher.score("d", PAIR))
    await asyncio.sleep(0)
    router.go.set()
    assert all(isinstance(s, Scored) for s in await asyncio.gather(first, waiting[1], fourth))
    assert router.batches == [["first"], ["b", "d"]]
    batcher.close()


async def test_texts_that_wait_take_limited_memory(router: SlowRouter) -> None:
    batcher = Batcher(router, max_waiting_bytes=350)
    first = await busy(batcher, router)
    waiting = [asyncio.create_task(batcher.score("😀" * n, PAIR)) for n in (90, 1, 90)]
    await asyncio.sleep(0)
    # The first is beyond the limit, but nothing waited; with it, nothing else may wait.
    refused = [await asyncio.wait_for(task, 1) for task in waiting[1:]]
    assert [isinstance(r, DecisionError) and r.reason for r in refused] == [Reason.OVERLOADED] * 2
    waiting[0].cancel()
    await asyncio.sleep(0)
    # A character beyond Latin-1 takes two bytes, beyond the basic plane four.
    later = [asyncio.create_task(batcher.score(text, PAIR)) for text in ("中" * 50, "😀" * 50, "x" * 90)]
    await asyncio.sleep(0)
    assert [task.done() for task in later] == [False, True, False]
    router.go.set()
    assert all(isinstance(s, Scored) for s in await asyncio.gather(first, later[0], later[2]))
    # What is scored no longer waits.
    assert isinstance(await batcher.score("😀" * 60, PAIR), Scored)
    batcher.close()


async def test_a_cancelled_prompt_costs_nothing(router: SlowRouter) -> None:
    batcher = Batcher(router)
    first = await busy(batcher, router)
    gone = asyncio.create_task(batcher.score("gone", PAIR))
    await asyncio.sleep(0)
    gone.cancel()
    router.go.set()
    await first
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert isinstance(await batcher.score("next", PAIR), Scored)
    assert router.batches == [["first"], ["next"]]
    batcher.close()


async def test_a_prompt_cancelled_while_it_is_scored_leaves_nobody_else_without_an_answer(router: SlowRouter) -> None:
    batcher = Batcher(router)
    before, gone, after = (asyncio.create_task(batcher.score(text, PAIR)) for text in ("before", "gone", "after"))
    await asyncio.to_thread(router.entered.acquire, timeout=10)
    assert router.batches == [["before", "gone", "after"]]
    gone.cancel()
    router.go.set()
    async with asyncio.timeout(10):
        assert all(isinstance(scored, Scored) for scored in await asyncio.gather(before, after))
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert isinstance(await batcher.score("next", PAIR), Scored)
    batcher.close()


async def test_closing_answers_what_is_scored_and_what_waits(router: SlowRouter) -> None:
    batcher = Batcher(router)
    first = await busy(batcher, router)
    waiting = asyncio.create_task(batcher.score("waiting", PAIR))
    await asyncio.sleep(0)
    batcher.close()
    batcher.close()
    router.go.set()
    async with asyncio.timeout(10):
        assert isinstance(await first, Scored)
        for late in (await waiting, await batcher.score("late", PAIR)):
            assert isinstance(late, DecisionError)
            assert late.reason is Reason.NOT_SERVING
    assert router.batches == [["first"]]
    for thread in batcher._threads._threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


async def test_a_failing_prompt_fails_nobody_else(router: SlowRouter) -> None:
    batcher = Batcher(router)
    first = await busy(batcher, router)
    tasks = [asyncio.create_task(batcher.score(text, PAIR)) for text in ("a", "poison", "b")]
    await asyncio.sleep(0)
    router.go.set()
    _, a, poison, b = await asyncio.gather(first, *tasks)
    assert isinstance(a, Scored)
    assert isinstance(b, Scored)
    assert isinstance(poison, DecisionError)
    assert poison.reason is Reason.ROUTER_FAILED
    batcher.close()


async def test_an_outage_is_not_asked_again_prompt_by_prompt(router: SlowRouter) -> None:
    batcher = Batcher(router)
    first = await busy(batcher, router)
    tasks = [asyncio.create_task(batcher.score(text, PAIR)) for text in ("a", "outage", "b")]
    await asyncio.sleep(0)
    router.go.set()
    results = (await asyncio.gather(first, *tasks))[1:]
    assert all(isinstance(r, DecisionError) and r.reason is Reason.EMBEDDER_UNAVAILABLE for r in results)
    assert router.batches == [["first"], ["a", "outage", "b"]]
    batcher.close()


async def test_concurrency_is_the_routers() -> None:
    two = SlowRouter(concurrency=2)
    batcher = Batcher(two)
    running = [await busy(batcher, two), await busy(batcher, two)]
    waiting = asyncio.create_task(batcher.score("third", PAIR))
    for _ in range(4):  # a worker too many would have taken it by now
        await asyncio.sleep(0)
    assert [item.text for item in batcher._waiting] == ["third"]
    assert two.batches == [["first"], ["first"]]
    two.go.set()
    assert all(isinstance(s, Scored) for s in await asyncio.gather(*running, waiting))
    assert two.batches[2:] == [["third"]]
    batcher.close()
