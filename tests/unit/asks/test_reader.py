from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.asks.reader import LOOK_BACK, AskReader, Turn
from routing_service.asks.spans import joined
from routing_service.asks_config import AsksConfig
from routing_service.errors import DecisionError, Reason

TURNS = st.builds(
    Turn, st.booleans(), st.lists(st.sampled_from(["", " ", "\n", "one", "two\n", "é"]), max_size=3), st.integers(0, 2)
)


def routed_text(turns: Iterable[Turn]) -> tuple[str, int, int]:
    read = AskReader().conversation(turns)
    return read.text, read.skipped_parts, read.newer_turns


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


def user(*texts: str, other_parts: int = 0) -> Turn:
    return Turn(True, texts, other_parts)


def read(*oldest_first: Turn) -> str:
    return AskReader().conversation(reversed(oldest_first)).text


ASSISTANT = Turn(False, ["An answer."], 0)


@pytest.mark.parametrize(
    "newest",
    [
        user(other_parts=2),
        user("<environment_context>\n  <cwd>/a</cwd>\n</environment_context>"),
        user("# AGENTS.md instructions for /a\n\n<INSTRUCTIONS>\nBe kind.\n</INSTRUCTIONS>", "<state>\nx\n</state>"),
        user("You are performing a CONTEXT CHECKPOINT COMPACTION. Write a handoff."),
        user("Another language model started to solve this problem and wrote: we did much."),
        user("This session is being continued from a previous conversation that was too long."),
        user("Begin."),
        user("[read_file for 'a.py'] Result:", "a = 1", "<state>x</state>"),
        user("OBSERVATION: it is red"),
        user("Your task is to create a detailed summary of the conversation so far.\n" + "Name each file. " * 40),
    ],
)
def test_a_message_that_asks_nothing_is_passed_over(newest: Turn) -> None:
    assert read(user("What is this?"), ASSISTANT, newest) == "What is this?"


@pytest.mark.parametrize("nudge", ["continue", "are you sure?", "commit it", "go on", "Begin with the first one."])
def test_a_short_reply_asks(nudge: str) -> None:
    assert read(user("What is this?"), ASSISTANT, user(nudge)) == nudge


def test_where_nothing_asks_the_newest_text_is_read() -> None:
    old = user("<state>one</state>")
    assert read(old, user("<state>two</state>")) == "<state>two</state>"
    assert read(old, user("Begin.\n<system-reminder>now</system-reminder>")) == "Begin."
    assert read(user("Begin.")) == "Begin."


def test_only_some_messages_are_passed_over() -> None:
    assert read(user("What?"), user("<state>one</state>", "\n")) == "What?"
    wrapped = [user("<state>one</state>")] * LOOK_BACK
    assert read(user("What?"), *wrapped[1:]) == "What?"
    assert read(user("What?"), *wrapped) == "<state>one</state>"


@pytest.mark.parametrize(
    ("parts", "ask"),
    [
        (["<system-reminder>\nx\n</system-reminder>\n", "hi"], "hi"),
        (['"hi there"', "<system-reminder>\nx\n</system-reminder>"], "hi there"),
        (["Why?", "--- Content from referenced files ---", "a = 1", "--- End of content ---"], "Why?"),
        (
            ['Called the Read tool with the following input: {\n"a": 1}', "<path>a</path>\n<type>x</type>", "why?"],
            "why?",
        ),
        (["Contents of src/a.py:\n```\na = 1\n```", "why?"], "why?"),
        (["why?", "File: a.py\na = 1\n\n\nb = 2"], "why?"),
        (["one", "<state>x</state>", "two"], "one\ntwo"),
        (['<image name=[Image #1] path="/tmp/a.png">', "</image>", "What is on it?"], "What is on it?"),
        (["one", "two"], "one\ntwo"),
        (["File: a.py\n"], "File: a.py\n"),
    ],
)
def test_parts_that_programs_add_are_left_out(parts: list[str], ask: str) -> None:
    found = AskReader().conversation([user(*parts)])
    assert found.text == ask
    assert found.newest == "\n".join(parts)
    if found.pieces is not None:
        assert joined(found.newest, found.pieces) == ask


def test_everything_of_the_newest_message_is_read_without_stripping() -> None:
    reader = AskReader(AsksConfig(strip="none"))
    turns = [user("<state>two</state>", "Begin."), user("What?")]
    assert reader.conversation(turns).text == "<state>two</state>\nBegin."


PART = st.one_of(
    st.sampled_from(
        [
            *(
                "<state>x</state>",
                "<state>",
                "</state>",
                "<image a>",
                "</image>",
                "Begin.",
                "hi",
                "",
                "\n",
                " ",
                '"hi"',
            ),
            *(
                "File: a.py\na = 1",
                "--- Content of x ---",
                "--- End ---",
                "Called the Read tool with the following input:",
            ),
            *("> a\n> b", "Context: a", "Question: b", "<task>", "do it", "</task>", "\ud800", "=" * 80),
        ]
    ),
    st.text(max_size=20),
)
MESSAGES = st.lists(st.builds(Turn, st.booleans(), st.lists(PART, max_size=6), st.integers(0, 2)), max_size=5)


@given(MESSAGES)
def test_a_conversation_is_read_whatever_it_holds(turns: list[Turn]) -> None:
    reader = AskReader()
    if not any(has_text(turn) for turn in turns):
        with pytest.raises(DecisionError):
            reader.conversation(turns)
        return
    found = reader.conversation(turns)
    whole = "\n".join(turns[found.newer_turns].texts)
    assert turns[found.newer_turns].is_user
    assert found.text == (whole if found.pieces is None else joined(whole, found.pieces))
    assert found.text.strip()
    assert found.newest == next("\n".join(turn.texts) for turn in turns if has_text(turn))
    assert reader.prompt(found.text).text == found.text
