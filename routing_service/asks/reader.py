"""The text of a prompt or a conversation that is read: what a person asks, without what a program put around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from routing_service.asks.spans import Pieces, joined, within
from routing_service.asks.text import Stripper
from routing_service.asks_config import AsksConfig
from routing_service.errors import DecisionError, Reason

# So many user messages without a request are passed over; then the newest is read as it is.
LOOK_BACK = 16
# So many parts of a message are looked at one by one.
MAX_PARTS = 64

# Parts that hold a file, or say that one was read. The rest of the message asks.
_ATTACHED = re.compile(
    r"\s{0,20}(?:Called the [\w.:-]{1,60} tool with the following input:"
    r"|Contents? of (?:the )?(?:file )?[^\n]{1,300}:[ \t]*\n"
    r"|(?:File|Path|File ?name|Attachment|Attached file): ?[^\n]{1,300}\n)"
)
# User messages that no person wrote.
_NOT_ASKED = re.compile(
    r"\s{0,100}(?:You are performing a CONTEXT CHECKPOINT COMPACTION"
    r"|Another language model started to solve this problem"
    r"|This session is being continued from a previous conversation"
    r"|This is (?:the )?[\w .-]{1,40}\. We are setting up the context"
    r"|I have \*added these files to the chat\*|Here are summaries of some files present in my git repository"
    r"|\[Request interrupted by user|Begin\.\s{0,20}\Z)"
)
# The same from programs that nobody listed: long instructions to sum up.
_COMPACTION = re.compile(
    r"\s{0,100}(?:please |now )?(?:your task is to )?(?:create|provide|write|generate|produce|summari[sz]e) "
    r"[^\n.]{0,120}\b(?:this|our|the) (?:[\w-]+ ){0,2}(?:conversation|session|chat|history|context)\b",
    re.I,
)
_MIN_COMPACTION = 400


class Turn(NamedTuple):
    """One message: whether a user wrote it, the texts of its text parts, and how many parts have no text."""

    is_user: bool
    texts: Sequence[str]
    other_parts: int


class ReadText(NamedTuple):
    """The text to score, and its place.

    `pieces` are the stretches of its message that it is, None for the whole; the message's text parts are joined by
    newlines. `skipped_parts` counts the parts without text of its message and of newer user messages; `newer_turns`
    counts newer messages of all roles. `newest` is the text of the newest user message with text, as it came.
    """

    text: str
    newest: str
    pieces: Pieces | None = None
    skipped_parts: int = 0
    newer_turns: int = 0


class AskReader:
    """Reads what is asked. Reading a text that was read before gives it unchanged.

    Args:
        config: what to leave out.
    """

    def __init__(self, config: AsksConfig | None = None) -> None:
        config = config or AsksConfig()
        self._stripper = None if config.strip == "none" else Stripper(config.wrappers)

    def prompt(self, text: str) -> ReadText:
        """What a prompt asks; the whole prompt, the same object, where nothing is left or nothing is around it."""
        pieces = None if self._stripper is None else self._stripper.pieces(text)
        return ReadText(joined(text, pieces), text, pieces) if pieces else ReadText(text, text)

    def conversation(self, newest_first: Iterable[Turn], field: str = "conversation") -> ReadText:
        """What the newest user message asks, or the newest one that asks anything.

        A message without text (tool results, or an image alone) asks nothing, and neither does one that holds only what
        a program wrote. Where none asks, the newest with text is read as it is. `field` is the conversation's place in
        the request.

        Raises:
            DecisionError: no user message has text.
        """
        skipped = passed = 0
        newest: str | None = None
        otherwise: ReadText | None = None
        for newer_turns, turn in enumerate(newest_first):
            if not turn.is_user:
                continue
            skipped += turn.other_parts
            text = "\n".join(turn.texts)
            if not text or text.isspace():
                continue
            newest = text if newest is None else newest
            pieces = None if self._stripper is None else self._pieces(self._stripper, text, turn.texts)
            asked = joined(text, pieces) if pieces else text
            found = ReadText(asked, newest, pieces or None, skipped, newer_turns)
            if self._stripper is None or (pieces != () and not _is_programs(asked)):
                return found
            otherwise, passed = otherwise or found, passed + 1
            if passed == LOOK_BACK:
                break
        if otherwise is None:
            raise DecisionError(
                Reason.NO_USER_TURN,
                "No user message of the conversation has text; send one with role ROLE_USER and a text part.",
                f"{field}.messages",
            )
        return otherwise

    def of_prompt(self, prompt: str) -> str:
        """The text of `prompt`."""
        return self.prompt(prompt).text

    def of_messages(self, newest_first: Iterable[tuple[bool, Sequence[str]]]) -> str:
        """The text of `conversation`, blank when no user message has text.

        Args:
            newest_first: for each message whether a user wrote it, and its texts.
        """
        try:
            return self.conversation(Turn(is_user, texts, 0) for is_user, texts in newest_first).text
        except DecisionError:
            return ""

    def _pieces(self, stripper: Stripper, text: str, texts: Sequence[str]) -> Pieces | None:
        if len(texts) == 1:
            return stripper.pieces(text)
        kept, begin = list[tuple[int, int]](), 0
        for place, part in enumerate(texts):
            end = begin + len(part) + 1
            attached = place < MAX_PARTS and (
                _ATTACHED.match(part) or (part[:1] == "<" and stripper.pieces(part) == ())
            )
            if not attached:
                kept.append((begin, min(end, len(text))))
            begin = end
        if not kept or len(kept) == len(texts):
            return stripper.pieces(text)
        rest = joined(text, kept)
        inner = stripper.pieces(rest)
        if inner is None:
            # Without the newline that stood before the parts that are gone.
            inner = ((0, len(rest) - 1 if kept[-1][1] < len(text) else len(rest)),)
        return within(kept, inner)


def _is_programs(text: str) -> bool:
    return _NOT_ASKED.match(text) is not None or (len(text) > _MIN_COMPACTION and _COMPACTION.match(text) is not None)
