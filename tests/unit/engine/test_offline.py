from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.engine.engine import SCORING_BATCH, Engine
from routing_service.engine.offline import score_prompts
from routing_service.errors import DecisionError, UsageError

MakeEngine = Callable[..., Engine]
SECRET = "a secret prompt"


def placed(prompts: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((f"f.jsonl:{number}", prompt) for number, prompt in enumerate(prompts, start=1))


@given(rates=st.lists(st.floats(0, 1), max_size=3 * SCORING_BATCH))
def test_every_prompt_gets_its_rate_in_order(
    fake_router: type[Any], make_engine: MakeEngine, rates: list[float]
) -> None:
    engine = make_engine({"main": fake_router(float, calibration=None)})
    assert list(score_prompts(engine, "main", placed(map(repr, rates)))) == rates


def test_an_empty_name_is_the_default_router(fake_router: type[Any], make_engine: MakeEngine) -> None:
    engine = make_engine(
        {"a": fake_router(lambda _: 0.1), "b": fake_router(lambda _: 0.2)},
        "default_router: b\ndefault_policy: p\npolicies: {p: {router: a, threshold: 0.5}}",
    )
    assert list(score_prompts(engine, "", placed(["x"]))) == [0.2]
    assert list(score_prompts(engine, "a", placed(["x"]))) == [0.1]


def test_prompts_are_read_as_they_are_needed(fake_router: type[Any], make_engine: MakeEngine) -> None:
    taken = 0

    def prompts() -> Iterator[str]:
        nonlocal taken
        for _ in range(10 * SCORING_BATCH):
            taken += 1
            yield "x"

    rates = score_prompts(make_engine({"main": fake_router()}), "main", placed(prompts()))
    next(rates)
    assert taken == SCORING_BATCH


@pytest.mark.parametrize("fallback", ["error", "strong", "weak"])
@pytest.mark.parametrize("rate", ["nan", SECRET])
@pytest.mark.usefixtures("log")
def test_a_prompt_that_cannot_be_scored_is_told_by_its_place(
    fake_router: type[Any], make_engine: MakeEngine, fallback: str, rate: str
) -> None:
    engine = make_engine({"main": fake_router(float)}, f"fallback: {{on_router_error: {fallback}}}")
    prompts = ["0.5"] * (SCORING_BATCH + 5) + [rate, "0.5"]
    rates = score_prompts(engine, "main", placed(prompts))
    with pytest.raises(UsageError, match=rf"^f.jsonl:{SCORING_BATCH + 6}: ") as caught:
        list(rates)
    assert SECRET not in str(caught.value)


def test_an_unknown_router_is_no_fault_of_a_prompt(fake_router: type[Any], make_engine: MakeEngine) -> None:
    engine = make_engine({"main": fake_router()})
    for prompts in (["x"], []):
        with pytest.raises(DecisionError, match="No router is named 'mian'; did you mean 'main'"):
            list(score_prompts(engine, "mian", placed(prompts)))


def test_rates_are_plain_numbers_in_0_to_1(fake_router: type[Any], make_engine: MakeEngine) -> None:
    (rate,) = score_prompts(make_engine({"main": fake_router(lambda _: 1)}), "main", placed(["x"]))
    assert rate == 1
    assert not math.isnan(rate)
