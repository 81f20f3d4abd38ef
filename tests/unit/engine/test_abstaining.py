"""What a router understood of a prompt, and what is decided where that is too little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from routing_client.proto import decision_pb2

from routing_service.asks.rules import Rules
from routing_service.config import parse_config
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.engine.types import Decision, DecisionReason, RouteRequest, ScoreSource, Tier
from routing_service.errors import ConfigError, DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores
from routing_service.server.codec import to_message


class HalfBlindRouter(Router):
    """Understands a tenth of the prompt for each of its letters, and is sure of the strong model."""

    type: ClassVar[str] = "half-blind"

    def __init__(self, *, inline: bool = True, tells: bool = True, signal: float | None = None) -> None:
        super().__init__(models=ModelPair("big", "small"))
        self.inline = inline  # type: ignore[misc] # per instance, for the test
        self._tells, self._signal = tells, signal

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        signals = [min(1.0, len(text) / 10) if self._signal is None else self._signal for text in texts]
        return Scores([0.9] * len(texts), None, [False] * len(texts), signals=signals if self._tells else None)


def engine(asks: str, router: Router | None = None) -> Engine:
    config = parse_config(f"asks: {asks}", "a.yaml", Path())
    routers = {"static": router or HalfBlindRouter()}
    models = {"static": (frozenset({"big"}), frozenset({"small"}))}
    return Engine(
        routers,
        Planner(routers, config),
        config.fallback,
        100,
        rules=Rules(config.asks, models, config.document),
        abstain=config.asks.abstain,
    )


WEAK_BELOW_HALF = "{abstain: {below: 0.5, tier: weak}}"


@pytest.mark.parametrize("inline", [True, False])
async def test_below_the_bound_the_configured_tier_is_taken(inline: bool) -> None:
    service = engine(WEAK_BELOW_HALF, HalfBlindRouter(inline=inline))
    for source in (ScoreSource.FRESH, ScoreSource.CACHED):
        few, enough = [await service.decide_async(RouteRequest(text)) for text in ("1234", "12345")]
        assert (few.tier, few.model, few.reason) == (Tier.WEAK, "small", DecisionReason.ABSTAINED)
        assert (enough.tier, enough.model, enough.reason) == (Tier.STRONG, "big", DecisionReason.THRESHOLD)
        assert (few.signal, enough.signal, few.strong_win_rate, few.source) == (0.4, 0.5, 0.9, source)
    batch = await service.decide_batch_async([RouteRequest("1"), RouteRequest("123456")])
    assert [isinstance(each, Decision) and each.reason.name for each in batch] == ["ABSTAINED", "THRESHOLD"]
    assert service.decide(RouteRequest("1")).reason is DecisionReason.ABSTAINED
    service.close()


def test_the_tier_is_strong_unless_told_otherwise() -> None:
    decision = engine("{abstain: {below: 0.5}}").decide(RouteRequest("1", threshold=0.95))
    assert (decision.tier, decision.threshold, decision.reason) == (Tier.STRONG, 0.95, DecisionReason.ABSTAINED)


def test_without_it_or_without_a_signal_the_score_decides() -> None:
    for asks, router in (("{}", None), (WEAK_BELOW_HALF, HalfBlindRouter(tells=False))):
        decision = engine(asks, router).decide(RouteRequest("1"))
        assert (decision.tier, decision.reason) == (Tier.STRONG, DecisionReason.THRESHOLD)


def test_a_rule_for_a_tier_comes_first_and_one_for_a_router_does_not() -> None:
    rules = "[{pattern: x, tier: strong}, {name: to-static, pattern: y, router: static}]"
    service = engine(f"{{abstain: {{below: 0.5, tier: weak}}, rules: {rules}}}")
    assert service.decide(RouteRequest("x")).reason is DecisionReason.RULE
    routed = service.decide(RouteRequest("y"))
    assert (routed.reason, routed.rule, routed.tier) == (DecisionReason.ABSTAINED, "to-static", Tier.WEAK)


@pytest.mark.parametrize("signal", [math.nan, -0.1, 1.1, math.inf])
def test_a_signal_that_is_none_fails_as_a_wrong_score_does(signal: float) -> None:
    with pytest.raises(DecisionError) as caught:
        engine("{}", HalfBlindRouter(signal=signal)).decide(RouteRequest("x"))
    assert caught.value.reason is Reason.ROUTER_FAILED


def test_it_is_on_the_wire() -> None:
    told = to_message(engine(WEAK_BELOW_HALF).decide(RouteRequest("1")))
    assert (told.signal, told.reason) == (0.1, decision_pb2.DECISION_REASON_ABSTAINED)
    assert not to_message(engine("{}", HalfBlindRouter(tells=False)).decide(RouteRequest("1"))).HasField("signal")


@pytest.mark.parametrize("below", ["0", "-1", "1.5", ".nan", "a"])
def test_a_wrong_bound_is_refused(below: str) -> None:
    with pytest.raises(ConfigError, match=r"asks\.abstain"):
        parse_config(f"asks: {{abstain: {{below: {below}}}}}", "a.yaml", Path())
