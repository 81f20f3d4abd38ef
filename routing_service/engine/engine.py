"""Prompt -> score -> policy -> Decision.

The rule is RouteLLM's (arXiv 2406.18665, section 3): strong when `strong_win_rate >= threshold`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import NamedTuple

from routing_service.asks.reader import AskReader
from routing_service.asks.rules import Facts, Rule, Rules
from routing_service.asks_config import AbstainConfig
from routing_service.config import FallbackConfig
from routing_service.engine.asked import AskDigest
from routing_service.engine.batcher import DEFAULT_MAX_WAITING_BYTES, Batcher
from routing_service.engine.cache import ScoreCache
from routing_service.engine.pacing import Pace
from routing_service.engine.policies import Plan, Planner
from routing_service.engine.scoring import Scored, score
from routing_service.engine.types import Decision, DecisionReason, RouteRequest, ScoreSource, Tier
from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import Router

# Prompts scored in one run: enough to share the cost of the run, few enough for short padding and pauses.
SCORING_BATCH = 64
# How many characters an inline router reads in one turn of the event loop, except of a longer prompt: a fraction of a
# millisecond's work for prose, 3 ms for words that nobody knows.
INLINE_CHARACTERS = 2048

# The errors that the configured fallback answers. A wrong request, or one too many, stays an error.
FALLBACK_REASONS = frozenset((Reason.ROUTER_FAILED, Reason.SCORE_INVALID, Reason.EMBEDDER_UNAVAILABLE))

# Decision ids must be unique, not secret; a system call for each would cost more than the decision's arithmetic.
_id_source = random.Random()  # noqa: S311 - see above

# Members of enums, which cost several times as much to read through their class.
_STRONG, _WEAK, _THRESHOLD = Tier.STRONG, Tier.WEAK, DecisionReason.THRESHOLD
_FRESH, _CACHED = ScoreSource.FRESH, ScoreSource.CACHED

Result = Decision | DecisionError


class Planned(NamedTuple):
    """An item of a batch that can be scored: its place, the request, the plan."""

    place: int
    request: RouteRequest
    plan: Plan


class Engine:
    """Decides. It keeps only cached scores of earlier requests, so a new engine can replace it at any time.

    `decide` and `decide_batch` score in the caller's thread, for every router. Their `_async` twins do so for
    inline routers only and give prompts for slower ones to the router's batcher: the event loop never waits.

    Args:
        routers: by name, at least one.
        planner: turns a request's router, policy and models into a `Plan`.
        fallback: what to do when a router fails.
        cached_scores: how many scores the `_async` methods keep for repeated prompts, 0 for none.
        asks: reads what is asked of prompts and conversations; requests have what it read.
        rules: decide before any router; None for none.
        abstain: the tier for what a router understood too little of; None to go by the score all the same.
        generation: counts the configurations that this process has loaded, from 1; decisions have it.
        digest_key: the key for the digests of scored texts; empty for none.
        max_waiting_bytes: how much memory the texts that wait for one router may take.
        on_close: closes what belongs to the engine, such as the routers' embedders.
    """

    def __init__(
        self,
        routers: Mapping[str, Router],
        planner: Planner,
        fallback: FallbackConfig,
        cached_scores: int = 0,
        *,
        asks: AskReader | None = None,
        rules: Rules | None = None,
        abstain: AbstainConfig | None = None,
        generation: int = 1,
        digest_key: bytes = b"",
        max_waiting_bytes: int = DEFAULT_MAX_WAITING_BYTES,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.routers, self.planner = dict(routers), planner
        self.asks, self.rules = asks or AskReader(), rules or None
        self._abstain_below = 0.0 if abstain is None else abstain.below
        self._abstained_tier = _WEAK if abstain is not None and abstain.tier == "weak" else _STRONG
        self._on_close = on_close
        self._cache = ScoreCache(cached_scores)
        self._generation, self._digest = generation, AskDigest(digest_key)
        self._fallback = {"strong": Tier.STRONG, "weak": Tier.WEAK}.get(fallback.on_router_error)
        self._batchers = {
            name: Batcher(router, max_waiting_bytes=max_waiting_bytes)
            for name, router in self.routers.items()
            if not router.inline
        }

    def decide(self, request: RouteRequest) -> Decision:
        """Decide for one request.

        Raises:
            DecisionError: the request cannot be decided; its reason says why.
        """
        start = perf_counter_ns()
        plan = self.plan(request)
        if plan.rule is not None and plan.rule.decides:
            return self._by_rule(request, plan, plan.rule, start)
        return self._answer_or_raise(request, plan, score(plan.router, (request.text,), plan.models)[0], start)

    async def decide_async(self, request: RouteRequest) -> Decision:
        """`decide` without blocking the event loop.

        Raises:
            DecisionError: as for `decide`, and OVERLOADED when too many prompts wait for the router.
        """
        start = perf_counter_ns()
        plan = self.plan(request)
        if plan.rule is not None and plan.rule.decides:
            return self._by_rule(request, plan, plan.rule, start)
        key = self._cache_key(request, plan)
        scored: Scored | DecisionError | None = self._cache.get(key)
        if scored is None:
            if plan.router.inline:
                scored = score(plan.router, (request.text,), plan.models)[0]
            else:
                scored = await self._batchers[plan.name].score(request.text, plan.models)
            self._cache.put(key, scored)
        return self._answer_or_raise(request, plan, scored, start)

    def decide_batch(self, requests: Sequence[RouteRequest | DecisionError], *, by_rules: bool = True) -> list[Result]:
        """Decide for many. Each answer is that of `decide`, or the error that it would raise.

        An item that is already an error stays one. Prompts for the same router and models are scored together. Without
        `by_rules`, a router scores every one.
        """
        start = perf_counter_ns()
        results: list[Result] = [_UNDECIDED] * len(requests)
        planned = [self._plan_item(place, request, results, by_rules) for place, request in enumerate(requests)]
        for piece in _pieces([item for item in planned if item is not None]):
            for item, scored in _score_piece(piece):
                results[item.place] = self._answer(item.request, item.plan, scored)
        _share_time(results, start)
        return results

    async def decide_batch_async(
        self, requests: Sequence[RouteRequest | DecisionError], pace: Pace | None = None
    ) -> list[Result]:
        """`decide_batch` without blocking the event loop: other calls have their turns, by `pace`."""
        start = perf_counter_ns()
        pace = pace or Pace()
        results: list[Result] = [_UNDECIDED] * len(requests)
        planned: list[Planned] = []
        keys: dict[int, Hashable | None] = {}
        scores: dict[int, Scored | DecisionError] = {}
        for place, request in enumerate(requests):
            if pace.is_due:
                await pace.rest()
            item = self._plan_item(place, request, results)
            if item is None:
                continue
            planned.append(item)
            keys[place] = self._cache_key(item.request, item.plan)
            if (known := self._cache.get(keys[place])) is not None:
                scores[place] = known
        fresh = [item for item in planned if item.place not in scores]
        for piece in _pieces([item for item in fresh if item.plan.router.inline], INLINE_CHARACTERS):
            if pace.is_due:
                await pace.rest()
            scores.update((item.place, scored) for item, scored in _score_piece(piece))
        slow = [item for item in fresh if not item.plan.router.inline]
        waits = [self._batchers[item.plan.name].score(item.request.text, item.plan.models) for item in slow]
        scores.update(zip((item.place for item in slow), await asyncio.gather(*waits), strict=True))
        for item in planned:
            scored = scores[item.place]
            self._cache.put(keys[item.place], scored)
            results[item.place] = self._answer(item.request, item.plan, scored)
        _share_time(results, start)
        return results

    async def score_async(self, plan: Plan, texts: Sequence[str]) -> list[Scored | DecisionError]:
        """Score prompts for a plan without blocking the event loop; an error takes the place of a score.

        The cache is neither read nor filled: a sample would push out the scores of real traffic. An inline
        router scores all of them in one turn of the loop, so give at most `SCORING_BATCH`.
        """
        if plan.router.inline:
            return score(plan.router, texts, plan.models)
        return await asyncio.gather(*(self._batchers[plan.name].score(text, plan.models) for text in texts))

    def plan(self, request: RouteRequest) -> Plan:
        """The plan for a request, by the first rule that holds, if one does.

        Raises:
            DecisionError: as for `Planner.plan`.
        """
        if self.rules is None:
            return self.planner.plan(request)
        rule = self.rules.match(_facts(request))
        if rule is None:
            return self.planner.plan(request)
        if rule.router:
            request = replace(request, router=rule.router)
        return self.planner.plan(request)._replace(rule=rule)

    def close(self) -> None:
        """Stop threads and close the routers."""
        for batcher in self._batchers.values():
            batcher.close()
        for router in self.routers.values():
            router.close()
        if self._on_close is not None:
            self._on_close()

    def _plan_item(
        self, place: int, request: RouteRequest | DecisionError, results: list[Result], by_rules: bool = True
    ) -> Planned | None:
        """The plan for an item of a batch; None when it is an error or a rule decides, which is then in `results`."""
        if not isinstance(request, DecisionError):
            try:
                plan = self.plan(request) if by_rules else self.planner.plan(request)
            except DecisionError as error:
                results[place] = error
                return None
            if plan.rule is None or not plan.rule.decides:
                return Planned(place, request, plan)
            results[place] = self._by_rule(request, plan, plan.rule, perf_counter_ns())
            return None
        results[place] = request
        return None

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
        tier = _STRONG if scored.strong_win_rate >= plan.threshold else _WEAK
        reason = _THRESHOLD if plan.rule is None else DecisionReason.RULE
        if scored.signal is not None and scored.signal < self._abstain_below:
            tier, reason = self._abstained_tier, DecisionReason.ABSTAINED
        return Decision(
            decision_id=_new_id(),
            model=plan.models.strong if tier is _STRONG else plan.models.weak,
            tier=tier,
            strong_win_rate=scored.strong_win_rate,
            threshold=plan.threshold,
            router=plan.name,
            router_revision=plan.router.revision,
            reason=reason,
            fallback_reason=None,
            prompt_tokens=scored.prompt_tokens,
            truncated=scored.truncated,
            skipped_parts=request.skipped_parts,
            request_id=request.request_id,
            tokenize_us=scored.tokenize_us,
            queue_us=scored.queue_us,
            inference_us=scored.inference_us,
            source=_CACHED if scored.cached else _FRESH,
            policy=plan.policy,
            rule="" if plan.rule is None else plan.rule.name,
            signal=scored.signal,
            topic="" if request.spans is None else plan.router.topic(request.text),
            generation=self._generation,
            asked=self._digest.of(request.text),
            spans=request.spans,
        )

    def _by_rule(self, request: RouteRequest, plan: Plan, rule: Rule, start_ns: int) -> Decision:
        """The decision of a rule that asks no router. It has no win rate."""
        tier = _STRONG if rule.side == "strong" else _WEAK
        return Decision(
            decision_id=_new_id(),
            model=rule.model or (plan.models.strong if tier is _STRONG else plan.models.weak),
            tier=tier,
            strong_win_rate=None,
            threshold=None,
            router=plan.name,
            router_revision=plan.router.revision,
            reason=DecisionReason.RULE,
            fallback_reason=None,
            prompt_tokens=None,
            truncated=False,
            skipped_parts=request.skipped_parts,
            request_id=request.request_id,
            source=ScoreSource.NONE,
            policy=plan.policy,
            rule=rule.name,
            generation=self._generation,
            asked=self._digest.of(request.text),
            spans=request.spans,
            total_us=(perf_counter_ns() - start_ns) / 1e3,
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
            rule="" if plan.rule is None else plan.rule.name,
            generation=self._generation,
            asked=self._digest.of(request.text),
            spans=request.spans,
        )


def _pieces(planned: Sequence[Planned], max_characters: float = math.inf) -> Iterator[list[Planned]]:
    """Items to score in one run: for the same router and models, up to a number of characters, or a single item."""
    groups: dict[tuple[str, ModelPair], list[Planned]] = {}
    for item in planned:
        groups.setdefault((item.plan.name, item.plan.models), []).append(item)
    for members in groups.values():
        # Items of similar length waste little padding; a prompt's score does not depend on its batch.
        members.sort(key=lambda member: len(member.request.text))
        piece: list[Planned] = []
        characters = 0
        for item in members:
            characters += len(item.request.text)
            if piece and (len(piece) == SCORING_BATCH or characters > max_characters):
                yield piece
                piece, characters = [], len(item.request.text)
            piece.append(item)
        yield piece


def _score_piece(piece: Sequence[Planned]) -> Iterator[tuple[Planned, Scored | DecisionError]]:
    """Score the items of one piece in this thread."""
    plan = piece[0].plan
    return zip(piece, score(plan.router, [item.request.text for item in piece], plan.models), strict=True)


# In the place of an item until its answer is there.
_UNDECIDED = DecisionError(Reason.INTERNAL, "This item was not decided.")


def _facts(request: RouteRequest) -> Facts:
    is_routed = bool(request.router or request.policy) or request.threshold is not None
    newest = request.text if request.newest is None else request.newest
    return Facts(newest, request.text, request.has, request.metadata, is_routed)


def _new_id() -> str:
    return _id_source.randbytes(16).hex()


def _share_time(results: Sequence[Result], start_ns: int) -> None:
    total = (perf_counter_ns() - start_ns) / 1e3 / max(1, len(results))
    for result in results:
        if isinstance(result, Decision):
            result.total_us = total
