"""Running a router, and checking that it gives one probability for each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.observability.logging import exception_summary
from routing_service.routers.base import Router, Scores

log = structlog.get_logger(__name__)

_NO_PROMPTS_FAULT = frozenset(
    (Reason.EMBEDDER_UNAVAILABLE, Reason.OVERLOADED, Reason.NOT_SERVING, Reason.DEADLINE_EXCEEDED)
)


@dataclass(slots=True)
class Scored:
    """One prompt's score. The times are microseconds; in a batch, the batch's time divided by its prompts.

    `signal`, in 0..1, is how much of the prompt the router understood, None when it cannot tell. `cached` says that the
    score was computed for an earlier request.
    """

    strong_win_rate: float
    prompt_tokens: int | None
    truncated: bool
    tokenize_us: float
    inference_us: float
    queue_us: float = 0.0
    cached: bool = False
    signal: float | None = None


def score(router: Router, texts: Sequence[str], models: ModelPair) -> list[Scored | DecisionError]:
    """Score prompts together. A prompt without a score has an error instead.

    If the router fails on the whole batch, each prompt is scored alone, so that one cannot fail the others. Not so for
    failures that no prompt causes: repeating them for each prompt would only make things worse.
    """
    try:
        return _unpacked(router.score(texts, models), len(texts))
    except DecisionError as error:
        if len(texts) == 1 or error.reason in _NO_PROMPTS_FAULT:
            return [error] * len(texts)
    except _NoProbabilityError as error:
        if len(texts) == 1:
            log.error("score_invalid", router=router.type, revision=router.revision, score=error.rate)
            return [_error(router, Reason.SCORE_INVALID, "returned no probability for this prompt")]
    except Exception as error:
        if len(texts) == 1:
            summary = exception_summary(error)
            log.error("router_failed", router=router.type, revision=router.revision, raised=summary)
            return [_error(router, Reason.ROUTER_FAILED, "failed on this prompt", error)]
    return [result for text in texts for result in score(router, (text,), models)]


class _NoProbabilityError(Exception):
    """A score that is NaN, infinite or outside 0..1."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        super().__init__(rate)


def _unpacked(scores: Scores, count: int) -> list[Scored | DecisionError]:
    """One `Scored` for each prompt. Raises if `scores`, which a plug-in may have made, is wrong in any way."""
    rates, truncated = scores.strong_win_rates, scores.truncated
    tokens = scores.prompt_tokens if scores.prompt_tokens is not None else (None,) * count
    signals = scores.signals if scores.signals is not None else (None,) * count
    tokenize_us, inference_us = scores.tokenize_us / count, scores.inference_us / count
    results: list[Scored | DecisionError] = []
    for place, (rate, read, cut, signal) in enumerate(zip(rates, tokens, truncated, signals, strict=True)):
        if (error := scores.errors.get(place)) is not None:
            results.append(error)
            continue
        if not 0.0 <= rate <= 1.0:  # NaN fails every comparison
            raise _NoProbabilityError(rate)
        if signal is not None and not 0.0 <= signal <= 1.0:
            raise ValueError("a signal that is not in 0..1")
        results.append(Scored(rate, read, cut, tokenize_us, inference_us, signal=signal))
    if len(results) != count:
        raise ValueError(f"{len(results)} scores for {count} prompts")
    return results


def _error(router: Router, reason: Reason, how: str, cause: Exception | None = None) -> DecisionError:
    error = DecisionError(
        reason,
        f"The {router.type} router {how}; use another, or report its revision.",
        metadata={"router_type": router.type, "router_revision": router.revision},
    )
    error.__cause__ = cause
    return error
