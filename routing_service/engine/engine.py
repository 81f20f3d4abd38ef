"""Prompt -> score -> policy -> Decision.

The rule is RouteLLM's (arXiv 2406.18665, section 3): strong when `strong_win_rate >= threshold`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from time import perf_counter_ns
from typing import NamedTuple

from routing_service.config import FallbackConfig
from routing_service.engine.asked import AskDigest
from routing_service.engine.batcher import Batcher
from routing_service.engine.cache import ScoreCache
from routing_service.engine.policies import Plan, Planner
from routing_service.engine.scoring import Scored, score
from routing_service.engine.types import Decision, DecisionReason, RouteRequest, ScoreSource, Tier
from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import Router

# Prompts scored in one run: large enough to amortise the run, small enough that padding and pauses stay short.
SCORING_BATCH = 64

# What the configured fallback answers for. A request that is wrong, or one too many, is an error all the same.
FALLBACK_REASONS = frozenset((Reason.ROUTER_FAILED, Reason.SCORE_INVALID, Reason.EMBEDDER_UNAVAILABLE))

# Decision ids must be unique, not secret; a system call for each would cost more than the decision's own arithmetic.
_id_source = random.Random()  # noqa: S311 - see above

Result = Decision | DecisionError


class Planned(NamedTuple):
    """An item of a batch that can be scored: where it stands, what is asked, what is applied."""

    place: int
    request: RouteRequest
    plan: Plan


class Engine:
    """Decides. All it keeps of earlier requests are scores in a cache, so it may be swapped for a new one at any time.

    `decide` and `decide_batch` score in the caller's own thread, whatever the router. Their `_async` twins do so for
    inline routers only and hand prompts for slower ones to the router's batcher, so that the event loop never waits.

    Args:
        routers: by name, at least one.
        planner: turns a request's router, policy and models into a `Plan`.
        fallback: what to do when a router fails.
        cached_scores: how many scores the `_async` methods keep for prompts that come again, 0 for none.
        generation: counts the configurations that this process has loaded, from 1; decisions say it.
        digest_key: the key of the digests that decisions say of what was scored; empty for none.
        on_close: what else is to be given up when the engine is, such as the routers' embedders.
    """

    def __init__(
        self,
        routers: Mapping[str, Router],
        planner: Planner,
        fallback: FallbackConfig,
        cached_scores: int = 0,
        *,
        generation: int = 1,
        digest_key: bytes = b"",
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.routers, self.planner = dict(routers), planner
        self._on_close = on_close
        self._cache = ScoreCache(cached_scores)
        self._generation, self._digest = generation, AskDigest(digest_key)
        self._fallback = {"strong": Tier.STRONG, "weak": Tier.WEAK}.get(fallback.on_router_error)
        self._batchers = {name: Batcher(router) for name, router in self.routers.items() if not router.inline}

    def decide(self, request: RouteRequest) -> Decision:
        """Decide for one request.

        Raises:
            DecisionError: the request cannot be decided; its reason says why.
        """
        start = perf_counter_ns()
        plan = self.planner.plan(request)
        return self._answer_or_raise(request, plan, score(plan.router, (request.text,), plan.models)[0], start)

    async def decide_async(self, request: RouteRequest) -> Decision:
        """`decide`, without making the event loop wait.

        Raises:
            DecisionError: as for `decide`, and OVERLOADED when too many prompts wait for the router.
        """
        start = perf_counter_ns()
        plan = self.planner.plan(request)
        key = self._cache_key(request, plan)
        scored: Scored | DecisionError | None = self._cache.get(key)
        if scored is None:
            if plan.router.inline:
                scored = score(plan.router, (request.text,), plan.models)[0]
            else:
                scored = await self._batchers[plan.name].score(request.text, plan.models)
            self._cache.put(key, scored)
        return self._answer_or_raise(request, plan, scored, start)

    def decide_batch(self, requests: Sequence[RouteRequest | DecisionError]) -> list[Result]:
        """Decide for many; the answer to each is what `decide` would give, with an error in place of a raise.

        An item that is an error already stays one. Prompts for the same router and models are scored together.
        """
        start = perf_counter_ns()
        results, planned = self._plan_all(requests)
        for item, scored in _score_groups(planned):
            results[item.place] = self._answer(item.request, item.plan, scored)
        _share_time(results, start)
        return results

    async def decide_batch_async(self, requests: Sequence[RouteRequest | DecisionError]) -> list[Result]:
        """`decide_batch`, without making the event loop wait."""
        start = perf_counter_ns()
        results, planned = self._plan_all(requests)
        keys = {item.place: self._cache_key(item.request, item.plan) for item in planned}
        known = {item.place: self._cache.get(keys[item.place]) for item in planned}
        fresh = [item for item in planned if known[item.place] is None]
        slow = [item for item in fresh if not item.plan.router.inline]
        waits = [self._batchers[item.plan.name].score(item.request.text, item.plan.models) for item in slow]
        scores: dict[int, Scored | DecisionError | None] = {**known}
        scores |= {item.place: scored for item, scored in _score_groups([i for i in fresh if i.plan.router.inline])}
        scores |= {item.place: scored for item, scored in zip(slow, await asyncio.gather(*waits), strict=True)}
        for item in planned:
            if (scored := scores[item.place]) is not None:
                self._cache.put(keys[item.place], scored)
                results[item.place] = self._answer(item.request, item.plan, scored)
        _share_time(results, start)
        return results

    async def score_async(self, plan: Plan, texts: Sequence[str]) -> list[Scored | DecisionError]:
        """Score prompts for a plan without making the event loop wait, with an error in place of a score.

        The cache is neither read nor filled: a sample of traffic would push out what traffic itself asks for. An inline
        router scores all of them in one turn of the loop, so give at most `SCORING_BATCH`.
        """
        if plan.router.inline:
            return score(plan.router, texts, plan.models)
        return await asyncio.gather(*(self._batchers[plan.name].score(text, plan.models) for text in texts))

    def close(self) -> None:
        """Give up threads and whatever the routers hold."""
        for batcher in self._batchers.values():
            batcher.close()
        for router in self.routers.values():
            router.close()
        if self._on_close is not None:
            self._on_close()

    def _plan_all(self, requests: Sequence[RouteRequest | DecisionError]) -> tuple[list[Result], list[Planned]]:
        """A list of results in which errors have their place already, and the items that are to be scored."""
        results: list[Result] = [_UNDECIDED] * len(requests)
        planned = []
        for index, request in enumerate(requests):
            if isinstance(request, DecisionError):
                results[index] = request
                continue
            try:
                planned.append(Planned(index, request, self.planner.plan(request)))
            except DecisionError as error:
                results[index] = error
        return results, planned

    def _cache_key(self, request: RouteRequest, plan: Plan) -> Hashable | None:
        return self._cache.key(plan.name, plan.models, request.text) if plan.router.deterministic else None

    def _answer_or_raise(
        self, request: RouteRequest, plan: Plan, scored: Scored | DecisionError, start_ns: int
    ) -> Decision:
        answer = self._answer(request, plan, scored)
        if isinstance(answer, DecisionError):
            raise answer
        answer.total_us = (perf_counter_ns() - start_ns) / 1e3
        return answer

    def _answer(self, request: RouteRequest, plan: Plan, scored: Scored | DecisionError) -> Result:
        """The rule, or the configured fallback."""
        if isinstance(scored, DecisionError):
            return self._fall_back(request, plan, scored)
        strong = scored.strong_win_rate >= plan.threshold
        return Decision(
            decision_id=_new_id(),
            model=plan.models.strong if strong else plan.models.weak,
            tier=Tier.STRONG if strong else Tier.WEAK,
            strong_win_rate=scored.strong_win_rate,
            threshold=plan.threshold,
            router=plan.name,
            router_revision=plan.router.revision,
            reason=DecisionReason.THRESHOLD,
            fallback_reason=None,
            prompt_tokens=scored.prompt_tokens,
            truncated=scored.truncated,
            skipped_parts=request.skipped_parts,
            request_id=request.request_id,
            tokenize_us=scored.tokenize_us,
            queue_us=scored.queue_us,
            inference_us=scored.inference_us,
            source=ScoreSource.CACHED if scored.cached else ScoreSource.FRESH,
            policy=plan.policy,
            generation=self._generation,
            asked=self._digest.of(request.text),
            spans=request.spans,
        )

    def _fall_back(self, request: RouteRequest, plan: Plan, error: DecisionError) -> Result:
        if self._fallback is None or error.reason not in FALLBACK_REASONS:
            return error
        return Decision(
            decision_id=_new_id(),
            model=plan.models.strong if self._fallback is Tier.STRONG else plan.models.weak,
            tier=self._fallback,
            strong_win_rate=None,
            threshold=None,
            router=plan.name,
            router_revision=plan.router.revision,
            reason=DecisionReason.FALLBACK,
            fallback_reason=error.reason,
            prompt_tokens=None,
            truncated=False,
            skipped_parts=request.skipped_parts,
            request_id=request.request_id,
            source=ScoreSource.NONE,
            policy=plan.policy,
            generation=self._generation,
            asked=self._digest.of(request.text),
            spans=request.spans,
        )


def _score_groups(planned: Sequence[Planned]) -> Iterator[tuple[Planned, Scored | DecisionError]]:
    """Score items in this thread, those for the same router and models together."""
    groups: dict[tuple[str, ModelPair], list[Planned]] = {}
    for item in planned:
        groups.setdefault((item.plan.name, item.plan.models), []).append(item)
    for (_, models), members in groups.items():
        # Neighbours of like length waste little padding; a prompt's score does not depend on its batch.
        members.sort(key=lambda member: len(member.request.text))
        for first in range(0, len(members), SCORING_BATCH):
            part = members[first : first + SCORING_BATCH]
            scores = score(part[0].plan.router, [item.request.text for item in part], models)
            yield from zip(part, scores, strict=True)


# Holds the place of an item until its answer is there.
_UNDECIDED = DecisionError(Reason.INTERNAL, "This item was not decided.")


def _new_id() -> str:
    return f"{_id_source.getrandbits(128):032x}"


def _share_time(results: Sequence[Result], start_ns: int) -> None:
    total = (perf_counter_ns() - start_ns) / 1e3 / max(1, len(results))
    for result in results:
        if isinstance(result, Decision):
            result.total_us = total
