"""Which text of a conversation is routed on: the newest user turn that has any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from routing_service.errors import DecisionError, Reason


class Turn(NamedTuple):
    """One message: whether a user wrote it, the texts of its text parts, and how many parts hold no text."""

    is_user: bool
    texts: Sequence[str]
    other_parts: int


class RoutedText(NamedTuple):
    """What is scored, and where it stood.

    `skipped_parts` counts the parts without text of its turn and of newer user turns; `newer_turns` counts newer turns
    of all roles.
    """

    text: str
    skipped_parts: int
    newer_turns: int = 0


def routed_text(newest_first: Iterable[Turn], field: str = "conversation") -> RoutedText:
    """The text of the newest user turn that has any besides white space; its parts are joined by a newline.

    A user turn without text (tool results as Anthropic's format has them, or an image alone) is passed over, and its
    parts counted. `field` is where the conversation stands in the request.

    Raises:
        DecisionError: no user turn has text.
    """
    skipped = 0
    for newer_turns, turn in enumerate(newest_first):
        if not turn.is_user:
            continue
        skipped += turn.other_parts
        text = "\n".join(turn.texts)
        if text and not text.isspace():
            return RoutedText(text, skipped, newer_turns)
    raise DecisionError(
        Reason.NO_USER_TURN,
        "No user message of the conversation has text; send one with role ROLE_USER and a text part.",
        f"{field}.messages",
    )
