"""Scoring many prompts without a server, for `score` and `calibrate`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from routing_service.engine.engine import SCORING_BATCH, Engine
from routing_service.engine.types import Decision, RouteRequest
from routing_service.errors import UsageError
from routing_service.models import ModelPair


def score_prompts(
    engine: Engine, router: str, prompts: Iterable[tuple[str, str]], models: ModelPair | None = None
) -> Iterator[float]:
    """The strong win rate, in 0..1, of each prompt, in order and in limited memory.

    Args:
        engine: scores.
        router: the router's name, empty for the default.
        prompts: pairs of a place, FILE:LINE for errors, and a text.
        models: the pair to score for, None for the router's own.

    Raises:
        DecisionError: the router, or a model, is not known.
        UsageError: a prompt cannot be scored; it says which.
    """
    strong, weak = models or ("", "")

    def request(text: str) -> RouteRequest:
        # A threshold of 0 asks for no calibration table; the win rate does not depend on it.
        return RouteRequest(text, router=router, threshold=0.0, strong_model=strong, weak_model=weak)

    engine.planner.plan(request(""))
    remaining = iter(prompts)
    while chunk := list(islice(remaining, SCORING_BATCH)):
        results = engine.decide_batch([request(text) for _, text in chunk], by_rules=False)
        for (place, _), result in zip(chunk, results, strict=True):
            if not isinstance(result, Decision):
                raise UsageError(f"{place}: {result.message}") from result
            if result.strong_win_rate is None:
                raise UsageError(f"{place}: router {result.router!r} failed ({result.fallback_reason})")
            yield result.strong_win_rate
