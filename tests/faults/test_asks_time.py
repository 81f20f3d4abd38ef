"""A megabyte of anything is read in a few milliseconds: nobody may hold the event loop with a text."""

from __future__ import annotations

import time

import pytest

from routing_service.asks.reader import AskReader
from tests.support.harness import BASE64, DUMP, LOG, RULES

SIZE = 1_000_000
# The machine may be busy with other things, so the processor's time counts, and the best of all tries.
LIMIT_SECONDS = 0.005
TRIES = 500


def filled(*parts: str, size: int = SIZE) -> str:
    """The parts again and again, to a megabyte."""
    text = "".join(parts)
    return (text * (size // len(text) + 1))[:size]


TEXTS = {
    **{f"only {sign!r}": filled(sign) for sign in 'a .<>"\n=-#é>'},
    "white space and a letter": " " * SIZE + "x",
    "a letter and white space": "x" + "\n" * SIZE,
    "lines of emoji": filled("😀\n", size=SIZE // 4),
    "lines of nothing": filled("\n>"),
    "emoji": filled("😀", size=SIZE // 4),
    "surrogates": filled("\ud800", size=SIZE // 3),
    "Chinese": filled("写一首关于春天的诗。", size=SIZE // 3),
    "prose": filled("the quick brown fox, and then again. "),
    "lines": filled("the quick brown fox, and then again.\n"),
    "opening tags": filled("<a>"),
    "closing tags": filled("</a>"),
    "a million tags": filled("<b></b>"),
    "nested tags": "<x>" * (SIZE // 7) + "</x>" * (SIZE // 7),
    "an unclosed wrapper": "<system-reminder>" + filled("words and "),
    "unclosed wrappers": filled("<system-reminder>\n"),
    "wrappers": filled("<system-reminder>a</system-reminder>\n"),
    "a large wrapper": '<file path="x">' + filled(RULES) + "</file>\nhi",
    "a large wrapper after": "hi\n<notes>\n" + filled(RULES) + "\n</notes>",
    "tags that begin alike": filled("<file><files>"),
    "opening tags before a closing one": filled("<foo>") + "</foo>",
    "quoted lines": filled("> hello there\n"),
    "attributions": filled("On Monday he wrote:\n> b\n> c\n"),
    "a log": filled(LOG) + "\nhi",
    "base64": filled(BASE64),
    "base64 in lines": filled("A" * 76 + "\n"),
    "many runs": filled("A" * 161 + " "),
    "a dump": filled(DUMP),
    "a table": filled("12,34,a\n"),
    "questions": filled("Question: a\n"),
    "passages": "Context:\n" + filled(RULES) + "\nQuestion: hi",
    "openings": filled("use the following context to answer "),
    "marks": filled("--- Content of x ---\na\n--- End ---\n"),
    "headings": filled("# output rules x\n"),
    "requests": filled("\n### user question"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_megabyte_is_read_in_milliseconds(name: str) -> None:
    reader, text, best = AskReader(), TEXTS[name], float("inf")
    for _ in range(TRIES):
        start = time.process_time()
        reader.prompt(text)
        best = min(best, time.process_time() - start)
        if best < LIMIT_SECONDS:
            break
    assert best < LIMIT_SECONDS
