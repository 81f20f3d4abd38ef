"""Which names mean the same model."""

from __future__ import annotations

import pytest

from routing_service.errors import UsageError
from routing_service.rows.model_names import Spelling, canonical_model, find_model


@pytest.mark.parametrize(
    "name",
    ["gpt-4-1106-preview", "openai/gpt-4-1106-preview", "OpenRouter/OpenAI/GPT-4-1106-Preview", " gpt-4-1106-preview "],
)
def test_organisation_and_case_are_no_part_of_a_model(name: str) -> None:
    assert canonical_model(name) == "gpt-4-1106-preview"


@pytest.mark.parametrize("name", ["gpt-4", "gpt-4-1106-preview-2", "gpt_4-1106-preview", "openai"])
def test_other_models_are_others(name: str) -> None:
    assert canonical_model(name) != canonical_model("openai/gpt-4-1106-preview")


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("big", ["small", "org/Big"], "org/Big"),
        ("vendor/BIG", ["small", "org/Big"], "org/Big"),
        ("b/big", ["a/big", "b/big"], "b/big"),
        ("bigger", ["small", "org/Big"], None),
        ("big", [], None),
    ],
)
def test_a_model_is_found_by_any_name(name: str, known: list[str], found: str | None) -> None:
    assert find_model(name, known) == found


def test_a_name_that_may_be_two_models_is_refused() -> None:
    with pytest.raises(UsageError, match="'big' may be any of 'a/big', 'b/big'; name one of them"):
        find_model("big", ["a/big", "b/big", "small"])


def test_a_model_is_spelt_in_one_way() -> None:
    spelling = Spelling(["gpt-4", ("big", "twin")])
    names = ["openai/GPT-4", "org/Twin", "BIG", "other/New", "new"]
    assert list(map(spelling, names)) == ["gpt-4", "big", "big", "other/New", "other/New"]
