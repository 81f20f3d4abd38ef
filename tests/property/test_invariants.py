"""What must hold for every prompt, through the engine that ships."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from routing_service.config import load_config
from routing_service.engine.build import build_engine
from routing_service.engine.engine import Engine
from routing_service.engine.types import Decision, RouteRequest, Tier

ENGINE: Engine = build_engine(load_config(None))
# Any Unicode, lone surrogates included, and text that looks like prompts.
TEXT = st.one_of(
    st.text(min_size=1),
    st.text(alphabet=st.characters(), min_size=1, max_size=40),
    st.lists(
        st.sampled_from(["prove", "x^2", "\n", "2", "```", "中", " ", "Answer:", "é", "🙂", "\x00"]),
        min_size=1,
        max_size=200,
    ).map(" ".join),
)
UNIT = st.floats(0, 1)


def decide(text: str, threshold: float) -> Decision:
    return ENGINE.decide(RouteRequest(text, threshold=threshold))


@given(TEXT)
def test_any_text_gives_a_probability(text: str) -> None:
    rate = decide(text, 0.5).strong_win_rate
    assert rate is not None
    assert math.isfinite(rate)
    assert 0 <= rate <= 1


@given(TEXT, UNIT, UNIT)
def test_a_higher_threshold_never_turns_weak_into_strong(text: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    lower, higher = decide(text, low), decide(text, high)
    assert lower.strong_win_rate == higher.strong_win_rate
    assert not (higher.tier is Tier.STRONG and lower.tier is Tier.WEAK)


@given(TEXT, UNIT)
def test_the_rule_is_at_least(text: str, threshold: float) -> None:
    decision = decide(text, threshold)
    assert decision.strong_win_rate is not None
    assert (decision.tier is Tier.STRONG) == (decision.strong_win_rate >= threshold)
    assert decide(text, decision.strong_win_rate).tier is Tier.STRONG
    assert decide(text, 0.0).tier is Tier.STRONG


@settings(max_examples=60)
@given(st.lists(TEXT, min_size=1, max_size=80))
def test_a_batch_gives_what_single_calls_give(texts: list[str]) -> None:
    batch = ENGINE.decide_batch([RouteRequest(text) for text in texts])
    for text, result in zip(texts, batch, strict=True):
        single = ENGINE.decide(RouteRequest(text))
        assert isinstance(result, Decision)
        assert (result.strong_win_rate, result.tier, result.prompt_tokens, result.truncated) == (
            single.strong_win_rate,
            single.tier,
            single.prompt_tokens,
            single.truncated,
        )


@given(UNIT, UNIT)
def test_a_larger_share_never_raises_the_threshold(one: float, other: float) -> None:
    small, large = sorted((one, other))
    at_small = ENGINE.decide(RouteRequest("hi", strong_share=small)).threshold
    at_large = ENGINE.decide(RouteRequest("hi", strong_share=large)).threshold
    assert at_small is not None
    assert at_large is not None
    assert at_small >= at_large
