"""What one text asks: the stretches of it that are left when everything that programs put around is taken out.

A text without any of it is left as it is, white space too. Time is linear in the text: what searches the whole of it is
a `str.find`, and patterns see windows at both ends only.
"""

from __future__ import annotations

import re

from routing_service.asks.blobs import may_have_blobs, without_blobs
from routing_service.asks.ends import peel
from routing_service.asks.labels import WINDOW
from routing_service.asks.mail import has_hint, unquoted
from routing_service.asks.passages import MIN_LENGTH, MIN_PIPED, last_turn, may_ask, piped, question
from routing_service.asks.spans import Pieces, joined, trimmed, within, without
from routing_service.asks.tags import WRAPPERS, known_blocks, opening_of

# Most texts are short and have nothing around them, and these are found out quickly. Longer ones may be piped.
_SHORT = MIN_PIPED - 1
_ONE_LINE = 150
# The marks of everything that is not one.
_MARKS = frozenset('"“«„「>#-=*D`[{ \t\r\n')
_LAST = frozenset(">-=#*` \t\r\n")
_MAX_ROUNDS = 12
_MAX_READ = 1
_KNOWN_WINDOW = 4 * WINDOW


class Stripper:
    """Finds what texts ask.

    Args:
        extra: names of tags, beside those that are known, whose blocks are a program's.
    """

    def __init__(self, extra: tuple[str, ...] = ()) -> None:
        self._extra = frozenset(extra)
        self._opening: re.Pattern[str] = opening_of((*WRAPPERS, *extra))

    def pieces(self, text: str) -> Pieces | None:
        """The stretches that ask, in order; None for the whole text as it is, and none when nothing is asked."""
        if (
            len(text) <= _SHORT
            and "<" not in text
            and (_is_plain(text) if "\n" in text or len(text) > _ONE_LINE else text[:1] not in _MARKS)
        ):
            return None
        begin, end = trimmed(text, 0, len(text))
        if begin == end:
            return None
        # White space at the ends is looked at once, however much there is.
        found: Pieces = ((begin, end),)
        current, left = text[begin:end], _MAX_READ * len(text) + WINDOW
        for number in range(_MAX_ROUNDS):
            inner = self._once(current)
            if inner is None:
                return found if number else None
            found, current = within(found, inner), joined(current, inner)
            if not current or current.isspace():
                return ()
            left -= len(current)
            if left < 0:
                break
        return None  # no program's text has so much around it

    def _once(self, text: str) -> Pieces | None:
        piece = peel(text, self._extra)
        if piece is not None:
            return (piece,)
        return (
            self._without_known(text)
            or unquoted(text)
            or _one(question(text) or last_turn(text))
            or piped(text)
            or without_blobs(text)
        )

    def _without_known(self, text: str) -> Pieces | None:
        """Without the known blocks between other text; a long text has them at its ends."""
        if len(text) > _KNOWN_WINDOW or "</" not in text:
            return None
        blocks = known_blocks(text, self._opening)
        return without(*trimmed(text, 0, len(text)), blocks) if blocks else None


def _is_plain(text: str) -> bool:
    """Whether a text of some lines and without tags has no mark of anything that is looked for."""
    return (
        text[0] not in _MARKS
        and text[-1] not in _LAST
        and (text[-1] != ":" or text[-2] not in "tilTIL")  # an assistant's turn
        and "```" not in text
        and not text.startswith("Called")
        and "\n#" not in text
        and "\n>" not in text
        and "\n[" not in text
        and "ules" not in text
        and "you MUST" not in text
        and not has_hint(text)
        and not (len(text) >= MIN_LENGTH and may_ask(text))
        and not may_have_blobs(text)
    )


def _one(piece: tuple[int, int] | None) -> Pieces | None:
    return None if piece is None else (piece,)
