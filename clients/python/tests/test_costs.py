from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from routing_client import Decision, DecisionReason, Tier
from routing_client.costs import CostLedger, Usage
from routing_client.endpoints import Endpoint, Endpoints

PRICES = Endpoints(
    {
        "big": Endpoint("http://127.0.0.1/v1", input_price=10, output_price=30),
        "small": Endpoint("http://127.0.0.1/v1", input_price=1, output_price=2),
    }
)
MILLION = Usage(1_000_000, 1_000_000)


def decision(tier: Tier) -> Decision:
    return Decision({Tier.STRONG: "big", Tier.WEAK: "small"}[tier], tier, DecisionReason.THRESHOLD)


def test_a_weak_answer_saves_the_difference() -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    entry = ledger.record("small", MILLION, decision(Tier.WEAK))
    assert (entry.cost, entry.all_strong) == (3.0, 40.0)
    ledger.record("big", MILLION, decision(Tier.STRONG))
    assert (ledger.spent, ledger.all_strong, ledger.saving) == (43.0, 80.0, 37.0)
    assert ledger.models["small"].calls == 1
    assert ledger.total.input_tokens == 2_000_000


def test_a_call_that_was_not_routed_saves_nothing() -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    ledger.record("small", MILLION, None)
    assert (ledger.spent, ledger.saving) == (3.0, 0.0)


def test_without_a_known_strong_model_no_saving_is_claimed() -> None:
    ledger = CostLedger(PRICES)
    ledger.record("small", MILLION, decision(Tier.WEAK))
    ledger.record("small", MILLION, decision(Tier.WEAK), strong_model="a model without a price")
    assert ledger.saving == 0.0
    ledger.record("small", MILLION, decision(Tier.WEAK), strong_model="big")
    assert ledger.saving == 37.0


def test_failing_over_to_the_strong_model_saves_nothing() -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    ledger.record("big", MILLION, decision(Tier.WEAK))
    assert ledger.saving == 0.0


def test_unknown_usage_is_unknown_until_it_is_told() -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    entry = ledger.record("small", None, decision(Tier.WEAK))
    assert (entry.cost, entry.all_strong) == (None, None)
    assert (ledger.total.calls, ledger.total.calls_without_usage, ledger.spent) == (1, 1, 0.0)
    entry.settle(Usage(10, 1))
    entry.settle(MILLION)  # a running total goes on
    assert (ledger.total.calls, ledger.total.calls_without_usage) == (1, 0)
    assert ledger.spent == pytest.approx(3.0)
    assert ledger.all_strong == pytest.approx(40.0)
    assert ledger.total.output_tokens == 1_000_000


def test_calls_without_a_price_are_counted_once_each_and_cost_nothing() -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    entries = [ledger.record("free", MILLION, decision(Tier.WEAK)) for _ in range(3)]
    ledger.record("unheard of", MILLION, decision(Tier.WEAK))
    ledger.record("free", None, decision(Tier.WEAK))  # without a usage it is not known whether a price is missing
    ledger.record("small", MILLION, decision(Tier.WEAK))
    entries[0].settle(MILLION)  # a running total is still one call
    assert {name: costs.calls_without_price for name, costs in ledger.models.items()} == {
        "free": 3,
        "unheard of": 1,
        "small": 0,
    }
    assert (ledger.total.calls_without_price, ledger.total.calls_without_usage, ledger.total.calls) == (4, 1, 6)
    assert (ledger.spent, ledger.all_strong) == (3.0, 40.0)
    assert (entries[0].cost, ledger.total.input_tokens) == (None, 5_000_000)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
        (SimpleNamespace(prompt_tokens=3, completion_tokens=4), Usage(3, 4)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
        (None, None),
        ({}, None),
        ({"prompt_tokens": "3"}, None),
        ({"prompt_tokens": -1, "completion_tokens": 4}, None),
        ({"prompt_tokens": None, "completion_tokens": 4}, None),
    ],
)
def test_usage_is_read_or_unknown(source: Any, expected: Usage | None) -> None:
    assert Usage.read(source) == expected


@given(st.lists(st.tuples(st.sampled_from(["big", "small"]), st.integers(0, 10**9), st.integers(0, 10**9))))
def test_the_sums_are_those_of_the_calls(calls: list[tuple[str, int, int]]) -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    entries = [
        ledger.record(model, Usage(read, written), decision(Tier.STRONG if model == "big" else Tier.WEAK))
        for model, read, written in calls
    ]
    assert ledger.spent == pytest.approx(sum(entry.cost or 0 for entry in entries))
    assert ledger.all_strong == pytest.approx(sum(entry.all_strong or 0 for entry in entries))
    assert ledger.saving >= -1e-6
    assert ledger.total.calls == len(calls)


def test_threads_lose_nothing() -> None:
    ledger = CostLedger(PRICES, strong_model="big")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.record("small", None, decision(Tier.WEAK)).settle(MILLION), range(400)))
    assert ledger.total.calls == 400
    assert ledger.spent == pytest.approx(1200.0)
    assert "calls=400" in repr(ledger)
