from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.asks.reader import AskReader
from routing_service.asks_config import AsksConfig
from tests.support.harness import ASKS, BASE64, CODE, DUMP, LOG, RULES, SHAPES

READER = AskReader()
FRAGMENTS = st.sampled_from(
    [
        *(
            "<system-reminder>",
            "</system-reminder>",
            "<a1>",
            "</a1>",
            "<task>",
            "</task>",
            '<file name="x">',
            "</file>",
        ),
        *(
            "<image a>",
            "<",
            ">",
            "</",
            '"',
            "“",
            "”",
            "\n",
            "\n\n",
            " ",
            "\t",
            "\ud800",
            "😀",
            "hi",
            "D",
            "Directive: ",
        ),
        *("Context:", "Question: ", "\nAnswer:", "> q\n", "On Monday she wrote:\n", "-----Original Message-----\n"),
        *("=" * 70, "data:image/png;base64,", "A" * 170, "A" * 65 + "\n", "a line of words\n" * 12, "# My request\n"),
        *("--- Content of x ---\n", "--- End ---\n", "Use the following context to answer", "# Output rules\n"),
        *("Called the Read tool with the following input: {}\n", LOG[:6000], DUMP[:400], CODE[:200]),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=12).map("".join))


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_ask_is_read_whatever_is_around_it(shape: str, ask: str) -> None:
    assert READER.prompt(SHAPES[shape](ask)).text.strip() == ask


@pytest.mark.parametrize("ask", ASKS)
def test_an_ask_is_the_same_object(ask: str) -> None:
    assert READER.prompt(ask).text is ask


@pytest.mark.parametrize(
    "text",
    [
        "  Two spaces, and a newline\n",
        "Translate this text:\n<text>\nGood morning\n</text>",
        "What does `<file>` mean in\n<file>\na\n</file>",
        "<document>\nOne\n</document>\nSum up the <document>.",
        "<b>bold</b> words are what this is about",
        "<p>One</p>\n<p>Two</p>",
        '"To be" and "not to be"',
        '"a cell of CSV with ""quotes"" inside"',
        ">>> import os\n>>> os.getcwd()\nWhy is this empty?",
        "> one line alone\nis it a quotation?",
        "Context: a box holds 5 balls.\nQuestion: how many?\nContext: 7 balls.\nQuestion: and now?",
        "Draw it:\n* * * *\n* * * *\n* * * *\n* * * *",
        "Write a game.\n\n# Rules:\n- two players\n- one ball",
        "Fill in: ____________________________",
        "Read the passage below.\nQuestion: what is it about?",
        "<never closed>\nWhat is this?",
        "a < b and c > d\nis that right?",
        "The code is:\n```python\na = 1\n```",
        "[CODE]\na = 1\n[/CODE]\nWhat does it do?",
        "User: hello\nAssistant: hi\nWhat comes next?",
        '<question type="essay">\nWhy?\n</question>\n<question type="essay">\nWhen?\n</question>',
        "Mend this:\n```src/app.py\na = 1\n```",
        "```python\na = 1\n```\nWhat does it do?",
    ],
)
def test_text_without_a_harness_is_left_alone(text: str) -> None:
    assert READER.prompt(text).text is text


@pytest.mark.parametrize(
    "text",
    ["<system-reminder>only this</system-reminder>", "<task> </task>", "=" * 100, "<a1></a1><b1/>", "", " ", "\n" * 50],
)
def test_where_nothing_is_left_the_whole_is_read(text: str) -> None:
    assert READER.prompt(text).text is text


def test_blocks_alone_are_searched_for_one_that_asks() -> None:
    text = "<context>\nA box.\n</context>\n<instructions>\nCount the balls.\n</instructions>"
    assert READER.prompt(text).text == "Count the balls."


def test_a_quotation_is_taken_out_between_replies() -> None:
    text = "On Monday, Ann wrote:\n> Is it red?\nYes.\n> And round?\n> Or square?\nWhat do you think?"
    assert READER.prompt(text).text == "Yes.\nWhat do you think?"


def test_known_blocks_are_taken_out_between_other_text() -> None:
    text = "Begin here.\n<system-reminder>be kind</system-reminder>\nThen sum up."
    assert READER.prompt(text).text == "Begin here.\n\nThen sum up."


def test_further_wrappers_are_known_by_the_configuration() -> None:
    text = "Begin.\n<notes>be kind</notes>\nThen sum up."
    assert READER.prompt(text).text is text
    assert AskReader(AsksConfig(wrappers=("notes",))).prompt(text).text == "Begin.\n\nThen sum up."


def test_repeated_lines_are_read_once() -> None:
    assert READER.prompt("Why?\n" + "connection was refused\n" * 400).text == "Why?\nconnection was refused"


def test_runs_between_words_leave_their_beginning() -> None:
    assert READER.prompt(f"Decode {BASE64} please").text == f"Decode {BASE64[:16]} please"


def test_without_stripping_everything_is_read() -> None:
    reader = AskReader(AsksConfig(strip="none"))
    for shape in SHAPES.values():
        text = shape("hi")
        assert reader.prompt(text).text is text


@given(TEXTS)
def test_reading_never_fails_and_what_was_read_is_read_again(text: str) -> None:
    read = READER.prompt(text)
    assert READER.prompt(read.text).text == read.text
    assert read.text or not text
    pieces = read.pieces or ()
    assert all(0 <= begin < end <= len(text) for begin, end in pieces)
    assert all(one[1] <= two[0] for one, two in pairwise(pieces))


@given(st.text(st.characters(codec="utf-8", exclude_characters='<"“«„「>#-=*D\n'), max_size=240))
def test_a_plain_line_is_the_same_object(text: str) -> None:
    assert READER.prompt(text).text is text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "x" * 100_000,
            "<" * 100_000,
            "<a>" * 50_000,
            "</a>" * 50_000,
            "<a>" * 20_000 + "</a>" * 20_000,
            '"' * 100_000,
        ),
        *("<system-reminder>" * 5000, "> " * 50_000, "\ud800" * 50_000, "\n" * 100_000, "```" * 40_000),
        "<system-reminder>" + RULES * 50,
    ],
)
def test_strange_texts_are_read(text: str) -> None:
    assert READER.prompt(text).text
