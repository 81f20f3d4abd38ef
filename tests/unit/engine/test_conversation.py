from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.engine.conversation import Turn, routed_text
from routing_service.errors import DecisionError, Reason

TURNS = st.builds(
    Turn, st.booleans(), st.lists(st.sampled_from(["", " ", "\n", "one", "two\n", "é"]), max_size=3), st.integers(0, 2)
)


def has_text(turn: Turn) -> bool:
    return turn.is_user and bool("".join(turn.texts).strip())


def test_the_newest_user_turn_is_routed_on() -> None:
    turns = [Turn(False, ["answer 2"], 0), Turn(True, ["question 2"], 0), Turn(True, ["question 1"], 0)]
    assert routed_text(turns) == ("question 2", 0, 1)


def test_text_parts_are_joined_and_others_counted() -> None:
    assert routed_text([Turn(True, ["What is", "in this image?"], 2)]) == ("What is\nin this image?", 2, 0)


def test_user_turns_without_text_are_passed_over_and_their_parts_counted() -> None:
    turns = [Turn(True, [], 3), Turn(False, [], 9), Turn(True, [" ", "\n"], 1), Turn(True, ["question"], 1)]
    assert routed_text(turns) == ("question", 5, 3)


def test_older_turns_are_not_read() -> None:
    turns = iter([Turn(True, ["new"], 0), Turn(True, ["old"], 7)])
    assert routed_text(turns) == ("new", 0, 0)
    assert next(turns).texts == ["old"]


@pytest.mark.parametrize(
    "turns", [[], [Turn(False, ["answer"], 0)], [Turn(True, [], 1)], [Turn(True, ["\t \u3000"], 0)]]
)
def test_without_a_user_s_text_there_is_nothing_to_route(turns: list[Turn]) -> None:
    with pytest.raises(DecisionError, match="No user message of the conversation has text") as caught:
        routed_text(turns)
    assert (caught.value.reason, caught.value.field) == (Reason.NO_USER_TURN, "conversation.messages")


@given(st.lists(TURNS, max_size=6))
def test_the_text_is_that_of_the_first_user_turn_that_has_any(turns: list[Turn]) -> None:
    index = next((i for i, turn in enumerate(turns) if has_text(turn)), None)
    if index is None:
        with pytest.raises(DecisionError):
            routed_text(turns)
        return
    skipped = sum(turn.other_parts for turn in turns[: index + 1] if turn.is_user)
    assert routed_text(turns) == ("\n".join(turns[index].texts), skipped, index)
