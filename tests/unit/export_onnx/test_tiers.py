"""Tiers of models against every possible split."""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export_onnx.tiers import compute_tiers

distinct = st.lists(st.integers(0, 2000), min_size=1, max_size=7, unique=True)


def cost(values: list[float]) -> float:
    return float(np.var(values)) if values else 0.0


def split(ratings: dict[str, float], tiers: dict[str, int], num_tiers: int) -> list[list[float]]:
    return [[ratings[name] for name, tier in tiers.items() if tier == number] for number in range(num_tiers)]


@given(distinct, st.integers(1, 5))
def test_no_split_has_less_variance_and_tiers_follow_the_ratings(values: list[int], num_tiers: int) -> None:
    ratings = {f"model-{value}": float(value) for value in values}
    tiers = compute_tiers(ratings, num_tiers)
    assert set(tiers) == set(ratings)
    assert list(tiers) == sorted(ratings, key=lambda name: -ratings[name])
    assert list(tiers.values()) == sorted(tiers.values())
    assert all(0 <= tier < num_tiers for tier in tiers.values())

    ordered = sorted(map(float, values), reverse=True)
    found = sum(map(cost, split(ratings, tiers, num_tiers)))
    for cuts in combinations_with_replacement(range(len(ordered) + 1), num_tiers - 1):
        parts = [ordered[low:high] for low, high in pairwise((0, *cuts, len(ordered)))]
        assert found <= sum(map(cost, parts)) + 1e-6


def test_clusters_are_found() -> None:
    ratings = {"a": 1203.0, "b": 1200.0, "c": 1000.0, "d": 999.0, "e": 998.0, "f": 700.0}
    assert compute_tiers(ratings, 3) == {"a": 0, "b": 0, "c": 1, "d": 1, "e": 1, "f": 2}


@pytest.mark.parametrize(("num_tiers", "expected"), [(1, [0, 0]), (2, [0, 1]), (4, [0, 3])])
def test_fewer_models_than_tiers_leave_tiers_empty_as_in_routellm(num_tiers: int, expected: list[int]) -> None:
    assert list(compute_tiers({"weak": 900.0, "strong": 1100.0}, num_tiers).values()) == expected


def test_one_model_is_in_the_first_tier() -> None:
    assert compute_tiers({"only": 1000.0}, 10) == {"only": 0}
