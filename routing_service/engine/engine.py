"""Prompt -> score -> policy -> Decision.

The rule is RouteLLM's (arXiv 2406.18665, section 3): strong when `strong_win_rate >= threshold`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from time import perf_counter_ns

import structlog

from routing_service.config import FallbackConfig
from routing_service.engine.policies import Plan, Planner
from routing_service.engine.types import Decision, DecisionReason, RouteRequest, Tier
from routing_service.errors import DecisionError, Reason
from routing_service.routers.base import ModelPair, Router, Scores

log = structlog.get_logger(__name__)

# Prompts scored in one run: large enough to amortise the run, small enough that padding and pauses stay short.
SCORING_BATCH = 64


# Decision ids must be unique, not secret; a system call for each would cost more than the decision's own arithmetic.
_id_source = random.Random()  # noqa: S311 - see above


def _new_id() -> str:
    return f"{_id_source.getrandbits(128):032x}"


class Engine:
    """Decides. It holds no state between requests, so that it may be swapped for a new one at any time.

    Args:
        routers: by name, at least one.
        planner: turns a request's router, policy and models into a `Plan`.
        fallback: what to do when a router fails.
    """

    def __init__(self, routers: Mapping[str, Router], planner: Planner, fallback: FallbackConfig) -> None:
        self.routers, self.planner = dict(routers), planner
        self._fallback = {"strong": Tier.STRONG, "weak": Tier.WEAK}.get(fallback.on_router_error)

    def decide(self, request: RouteRequest) -> Decision:
        """Decide for one request.

        Raises:
            DecisionError: the request cannot be decided; its reason says why.
        """
        start = perf_counter_ns()
        plan = self.planner.plan(request)
        try:
            scores = _score(plan.router, [request.text], plan.models)
            decision = self._apply(request, plan, scores, 0, 1)
        except DecisionError as error:
            decision = self._fall_back(request, plan, error)
        decision.total_us = (perf_counter_ns() - start) / 1e3
        return decision

    def decide_batch(self, requests: Sequence[RouteRequest | DecisionError]) -> list[Decision | DecisionError]:
        """Decide for many; the answer to each is what `decide` would give, with an error in place of a raise.

        An item that is an error already stays one. Prompts for the same router and models are scored together.
        """
        start = perf_counter_ns()
        results: list[Decision | DecisionError | None] = [None] * len(requests)
        groups: dict[tuple[int, ModelPair], list[tuple[int, RouteRequest, Plan]]] = {}
        for index, request in enumerate(requests):
            if isinstance(request, DecisionError):
                results[index] = request
                continue
            try:
                plan = self.planner.plan(request)
            except DecisionError as error:
                results[index] = error
                continue
            groups.setdefault((id(plan.router), plan.models), []).append((index, request, plan))
        for members in groups.values():
            # Neighbours of like length waste little padding; a prompt's score does not depend on its batch.
            members.sort(key=lambda member: len(member[1].text))
            for first in range(0, len(members), SCORING_BATCH):
                self._decide_group(members[first : first + SCORING_BATCH], results)
        total = (perf_counter_ns() - start) / 1e3 / max(1, len(requests))
        for result in results:
            if isinstance(result, Decision):
                result.total_us = total
        return [result for result in results if result is not None]

    def _decide_group(
        self, members: Sequence[tuple[int, RouteRequest, Plan]], results: list[Decision | DecisionError | None]
    ) -> None:
        _, _, first = members[0]
        try:
            scores = _score(first.router, [request.text for _, request, _ in members], first.models)
        except DecisionError:
            # One prompt may have failed the whole run: score each alone, so that it fails nobody else.
            for index, request, _ in members:
                results[index] = self._decide_or_error(request)
            return
        for row, (index, request, plan) in enumerate(members):
            try:
                results[index] = self._apply(request, plan, scores, row, len(members))
            except DecisionError as error:
                results[index] = self._fall_back_or_error(request, plan, error)

    def _decide_or_error(self, request: RouteRequest) -> Decision | DecisionError:
        try:
            return self.decide(request)
        except DecisionError as error:
            return error

    def _apply(self, request: RouteRequest, plan: Plan, scores: Scores, row: int, rows: int) -> Decision:
        rate = scores.strong_win_rates[row]
        if not 0.0 <= rate <= 1.0:  # NaN fails every comparison
            log.error("score_invalid", router=plan.name, revision=plan.router.revision, score=rate)
            raise DecisionError(
                Reason.SCORE_INVALID,
                f"Router {plan.name!r} returned no probability for this prompt; use another, or report its revision.",
                metadata={"router": plan.name, "router_revision": plan.router.revision},
            )
        strong = rate >= plan.threshold
        return Decision(
            _new_id(),
            plan.models.strong if strong else plan.models.weak,
            Tier.STRONG if strong else Tier.WEAK,
            rate,
            plan.threshold,
            plan.name,
            plan.router.revision,
            DecisionReason.THRESHOLD,
            None,
            None if scores.prompt_tokens is None else scores.prompt_tokens[row],
            scores.truncated[row],
            request.skipped_parts,
            request.request_id,
            scores.tokenize_us / rows,
            0.0,
            scores.inference_us / rows,
        )

    def _fall_back(self, request: RouteRequest, plan: Plan, error: DecisionError) -> Decision:
        if self._fallback is None:
            raise error
        return Decision(
            _new_id(),
            plan.models.strong if self._fallback is Tier.STRONG else plan.models.weak,
            self._fallback,
            None,
            None,
            plan.name,
            plan.router.revision,
            DecisionReason.FALLBACK,
            error.reason,
            None,
            False,
            request.skipped_parts,
            request.request_id,
        )

    def _fall_back_or_error(self, request: RouteRequest, plan: Plan, error: DecisionError) -> Decision | DecisionError:
        return error if self._fallback is None else self._fall_back(request, plan, error)


def _score(router: Router, texts: Sequence[str], models: ModelPair) -> Scores:
    try:
        scores = router.score(texts, models)
    except DecisionError:
        raise
    except Exception as error:
        # Only the class is logged: a message of a tokenizer or a runtime may quote the prompt.
        log.error("router_failed", router=router.type, revision=router.revision, error=type(error).__name__)
        raise DecisionError(
            Reason.ROUTER_FAILED,
            f"The {router.type} router failed on this prompt; use another router or report its revision.",
            metadata={"router_type": router.type, "router_revision": router.revision},
        ) from error
    if len(scores.strong_win_rates) != len(texts):
        raise DecisionError(
            Reason.ROUTER_FAILED,
            f"The {router.type} router returned {len(scores.strong_win_rates)} scores for {len(texts)} prompts.",
            metadata={"router_type": router.type, "router_revision": router.revision},
        )
    return scores
