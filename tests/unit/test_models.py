"""The pair of models."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from routing_service.errors import UsageError
from routing_service.models import ROUTELLM_PAIR, ModelPair


@pytest.mark.parametrize(
    ("names", "says"),
    [(("a", "a"), "are both 'a'"), (("", "b"), "must not be empty"), (("a", ""), "must not be empty")],
)
def test_a_pair_is_two_different_names(names: tuple[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ModelPair(*names)


def test_a_pair_is_compared_hashed_and_unpacked_by_its_names() -> None:
    strong, weak = pair = ModelPair("big", "small")
    assert (strong, weak, asdict(pair)) == ("big", "small", {"strong": "big", "weak": "small"})
    assert {pair, ModelPair("big", "small")} == {pair}
    assert pair != ModelPair("small", "big")


@pytest.mark.parametrize(
    ("options", "pair"),
    [
        ((None, None), ROUTELLM_PAIR),
        (("big", ""), ModelPair("big", ROUTELLM_PAIR.weak)),
        (("b", "a"), ModelPair("b", "a")),
    ],
)
def test_options_name_models_in_place_of_a_pair_s_own(options: tuple[str | None, str | None], pair: ModelPair) -> None:
    assert ROUTELLM_PAIR.with_options(*options) == pair


def test_options_that_name_one_model_twice_are_refused() -> None:
    with pytest.raises(UsageError, match="both 'big'; name two different ones with --strong-model and --weak-model"):
        ModelPair("big", "small").with_options(None, "big")
