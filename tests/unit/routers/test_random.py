from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.calibration.thresholds import threshold_for_share
from routing_service.errors import ConfigError
from routing_service.models import ModelPair
from routing_service.routers.random import RandomOptions, RandomRouter
from routing_service.yaml_sections import read_yaml

PAIR = ModelPair("big", "small")
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)


def router(seed: int | None = None, by_prompt: bool = False) -> RandomRouter:
    return RandomRouter(PAIR, RandomOptions(seed, by_prompt))


def rates(router: RandomRouter, *texts: str) -> list[float]:
    return list(router.score(texts, PAIR).strong_win_rates)


@given(texts=st.lists(TEXTS, min_size=1, max_size=9), by_prompt=st.booleans(), seed=st.none() | st.integers())
def test_rates_are_probabilities_below_1(texts: list[str], by_prompt: bool, seed: int | None) -> None:
    scores = router(seed, by_prompt).score(texts, PAIR)
    assert len(scores.strong_win_rates) == len(scores.truncated) == len(texts)
    assert all(0 <= rate < 1 for rate in scores.strong_win_rates)
    assert scores.prompt_tokens is None
    assert not any(scores.truncated)


def test_the_same_seed_draws_the_same_sequence() -> None:
    assert rates(router(7), *"abcdefgh") == rates(router(7), *"stuvwxyz")
    assert rates(router(7), *"abc") != rates(router(8), *"abc")


def test_without_a_seed_every_router_draws_its_own() -> None:
    assert rates(router(), *"abcdefgh") != rates(router(), *"abcdefgh")
    assert rates(RandomRouter(PAIR), "a") != rates(RandomRouter(PAIR), "a")


@given(texts=st.lists(TEXTS, min_size=1, max_size=9), seed=st.integers())
def test_by_prompt_a_rate_is_a_function_of_seed_and_prompt(texts: list[str], seed: int) -> None:
    together = rates(router(seed, True), *texts)
    assert together == [rates(router(seed, True), text)[0] for text in texts]
    assert rates(router(seed + 1, True), "x") != rates(router(seed, True), "x")


def test_by_prompt_without_a_seed_is_with_seed_0() -> None:
    assert rates(router(None, True), *"abc") == rates(router(0, True), *"abc")


def test_different_prompts_get_different_rates() -> None:
    assert len(set(rates(router(0, True), *map(str, range(1000))))) == 1000


@pytest.mark.parametrize("by_prompt", [False, True])
def test_the_calibration_table_is_true(by_prompt: bool) -> None:
    drawn = router(3, by_prompt)
    assert drawn.calibration is not None
    scores = rates(drawn, *map(str, range(20_000)))
    for share in (0.1, 0.5, 0.9):
        threshold = threshold_for_share(drawn.calibration.quantiles, share)
        assert sum(score >= threshold for score in scores) / len(scores) == pytest.approx(share, abs=0.02)


def test_the_revision_changes_whenever_the_rates_may() -> None:
    revisions = [router(s, b).revision for s in (None, 1, 2) for b in (False, True)]
    assert len(set(revisions)) == 6


def test_it_answers_with_its_pair_and_no_other() -> None:
    drawn = router()
    assert (drawn.type, drawn.models, drawn.max_tokens) == ("random", PAIR, None)
    assert drawn.strong_names == {"big"}
    assert drawn.weak_names == {"small"}


@pytest.mark.parametrize("seed", [10**80, -(10**80)], ids=["positive", "negative"])
def test_a_huge_seed_works_or_is_refused_where_it_is_configured(seed: int) -> None:
    try:
        options = read_yaml(f"{{seed: {seed}, by_prompt: true}}", "f.yaml", Path()).parse(RandomOptions)
    except ConfigError:
        return
    assert 0 <= rates(RandomRouter(PAIR, options), "x")[0] < 1


@pytest.mark.parametrize("text", ["seed: x", "seed: 1.5", "by_prompt: 1", "sede: 1"])
def test_options_are_checked(text: str) -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml:1: "):
        read_yaml(text, "f.yaml", Path()).parse(RandomOptions)
