"""The text of a conversation that is routed: the newest user turn with text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from routing_service.errors import DecisionError, Reason


class Turn(NamedTuple):
    """One message: whether a user wrote it, the texts of its text parts, and how many parts have no text."""

    is_user: bool
    texts: Sequence[str]
    other_parts: int


class RoutedText(NamedTuple):
    """The text to score, and its place.

    `skipped_parts` counts the parts without text of its turn and of newer user turns; `newer_turns` counts newer turns
    of all roles.
    """

    text: str
    skipped_parts: int
    newer_turns: int = 0


def routed_text(newest_first: Iterable[Turn], field: str = "conversation") -> RoutedText:
    """The text of the newest user turn that is more than white space; its parts are joined by a newline.

    A user turn without text (tool results in Anthropic's format, or an image alone) is skipped, and its
    parts are counted. `field` is the conversation's place in the request.

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
