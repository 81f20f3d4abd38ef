"""Running a router and making sure that what comes back is one probability a prompt, whatever the router does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from routing_service.errors import DecisionError, Reason
from routing_service.observability.logging import exception_summary
from routing_service.routers.base import ModelPair, Router, Scores

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Scored:
    """One prompt's score. The times are microseconds; in a batch, the batch's share for one prompt."""

    strong_win_rate: float
    prompt_tokens: int | None
    truncated: bool
    tokenize_us: float
    inference_us: float
    queue_us: float = 0.0


def score(router: Router, texts: Sequence[str], models: ModelPair) -> list[Scored | DecisionError]:
    """Score prompts together, with an error in place of a score where there is none.

    When the router fails on the whole batch, each prompt is scored alone, so that one cannot fail the others.
    """
    try:
        scores = _run(router, texts, models)
    except DecisionError as error:
        if error.reason is not Reason.ROUTER_FAILED or len(texts) == 1:
            return [error] * len(texts)
        return [result for text in texts for result in score(router, [text], models)]
    return [_checked(router, scores, row) for row in range(len(texts))]


def _checked(router: Router, scores: Scores, row: int) -> Scored | DecisionError:
    rate, rows = scores.strong_win_rates[row], len(scores.strong_win_rates)
    if not 0.0 <= rate <= 1.0:  # NaN fails every comparison
        log.error("score_invalid", router=router.type, revision=router.revision, score=rate)
        return DecisionError(
            Reason.SCORE_INVALID,
            f"The {router.type} router returned no probability for this prompt; use another, or report its revision.",
            metadata={"router_type": router.type, "router_revision": router.revision},
        )
    tokens = None if scores.prompt_tokens is None else scores.prompt_tokens[row]
    return Scored(rate, tokens, scores.truncated[row], scores.tokenize_us / rows, scores.inference_us / rows)


def _run(router: Router, texts: Sequence[str], models: ModelPair) -> Scores:
    try:
        scores = router.score(texts, models)
    except DecisionError:
        raise
    except Exception as error:
        summary = exception_summary(error)
        log.error("router_failed", router=router.type, revision=router.revision, raised=summary)
        raise _failed(router, "failed on this prompt") from error
    if len(scores.strong_win_rates) != len(texts):
        raise _failed(router, f"returned {len(scores.strong_win_rates)} scores for {len(texts)} prompts")
    return scores


def _failed(router: Router, how: str) -> DecisionError:
    return DecisionError(
        Reason.ROUTER_FAILED,
        f"The {router.type} router {how}; use another, or report its revision.",
        metadata={"router_type": router.type, "router_revision": router.revision},
    )
