"""Scoring many prompts without a server: what `score` and `calibrate` do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from routing_service.engine.engine import SCORING_BATCH, Engine
from routing_service.engine.types import Decision, RouteRequest
from routing_service.errors import UsageError
from routing_service.models import ModelPair


def score_prompts(
    engine: Engine, router: str, prompts: Iterable[str], models: ModelPair | None = None
) -> Iterator[float]:
    """The strong win rate, in 0..1, of each prompt, in order; memory does not grow with their number.

    Args:
        engine: what scores.
        router: the router's name, empty for the default.
        prompts: the texts.
        models: the pair to score for, None for the router's own.

    Raises:
        DecisionError: the router, or a model, is not known.
        UsageError: a prompt cannot be scored; says which, counting from 1.
    """
    strong, weak = models or ("", "")

    def request(text: str) -> RouteRequest:
        # A threshold of 0 asks for no calibration table; the win rate does not depend on it.
        return RouteRequest(text, router=router, threshold=0.0, strong_model=strong, weak_model=weak)

    engine.planner.plan(request(""))
    remaining, done = iter(prompts), 0
    while chunk := list(islice(remaining, SCORING_BATCH)):
        for offset, result in enumerate(engine.decide_batch([request(text) for text in chunk]), start=1):
            if not isinstance(result, Decision):
                raise UsageError(f"prompt {done + offset}: {result.message}") from result
            if result.strong_win_rate is None:
                raise UsageError(f"prompt {done + offset}: router {result.router!r} failed ({result.fallback_reason})")
            yield result.strong_win_rate
        done += len(chunk)
