"""Blocks in tags, `<name …>…</name>`, that programs put around what a person asks, and which names mean what.

Everything here is a few `str.find` over the text, and their sum is bounded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Blocks that programs write. They are taken out wherever they stand in a text.
WRAPPERS = (
    "system-reminder",
    "system_reminder",
    "environment_context",
    "environment_details",
    "INSTRUCTIONS",
    "user_instructions",
    "skills_instructions",
    "fork-boilerplate",
    "reminderInstructions",
    "editorContext",
    "workspace_info",
    "attachments",
    "additional_data",
    "open_and_recently_viewed_files",
    "project_layout",
    "user_info",
    "command-name",
    "command-message",
    "local-command-stdout",
    "local-command-caveat",
    "conversation_summary",
    "chat_history",
)
# Blocks that hold the request; what stands around them is the program's.
_ASKS = (
    "task user_query user_request user_question user_message user_prompt user_input userrequest userquery "
    "userquestion usermessage userprompt userinput question"
)
ASKS = frozenset(_ASKS.split())
# Blocks that hold the request where nothing stands outside of blocks.
_ASKS_ALONE = (
    "query request prompt message input instruction instructions ask problem objective goal human user "
    "feedback command_args"
)
ASKS_ALONE = frozenset(_ASKS_ALONE.split())
# Tags of HTML, which people ask about. `<image>`, `<file>`, `<path>` and `<content>` are not among them.
_HTML = (
    "a abbr address article aside audio b base blockquote body br button canvas caption code col colgroup "
    "data datalist dd del details dfn dialog div dl dt em embed fieldset figcaption figure footer form g "
    "h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd label legend li link main "
    "map mark math menu meta meter nav noscript object ol optgroup option output p param picture pre "
    "progress q rect ruby s samp script search section select slot small source span strong style sub "
    "summary sup svg table tbody td template textarea tfoot th thead time title tr track u ul var video "
    "wbr"
)
HTML = frozenset(_HTML.split())

_OPEN = re.compile(r"<([A-Za-z_][\w.:-]{0,63})(?:\s[^<>]{0,2000}|/)?>")
_CLOSE_AT_END = re.compile(r"</([A-Za-z_][\w.:-]{0,63})\s{0,8}>\Z")
# So many tags of one name within one another are looked at.
_MAX_DEPTH = 32


class Block(NamedTuple):
    """A block of a text: its tag's name, where it begins and ends, and where its content does."""

    name: str
    begin: int
    end: int
    inner_begin: int
    inner_end: int


class Scanner:
    """Searches a text, and stops where so much was read that no program's text needs it: time stays linear."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._left = 2 * len(text) + 65_536

    @property
    def gave_up(self) -> bool:
        """Whether there was too much to read, so that nothing that was found counts."""
        return self._left <= 0

    def find(self, wanted: str, begin: int, end: int) -> int:
        """`str.find`."""
        if self._left <= 0:
            return -1
        place = self.text.find(wanted, begin, end)
        self._left -= (end if place < 0 else place) - begin + 64
        return place

    def rfind(self, wanted: str, begin: int, end: int) -> int:
        """`str.rfind`."""
        if self._left <= 0:
            return -1
        place = self.text.rfind(wanted, begin, end)
        self._left -= end - max(begin, place) + 64
        return place

    def count(self, wanted: str, begin: int, end: int) -> int:
        """`str.count`."""
        self._left -= end - begin + 64
        return self.text.count(wanted, begin, end) if self._left > 0 else 0

    def block_at(self, begin: int, end: int) -> Block | None:
        """The block whose opening tag stands at `begin`; None when there is no such tag, or nothing closes it."""
        tag = _OPEN.match(self.text, begin, end)
        if tag is None:
            return None
        name, after = tag[1], tag.end()
        if self.text[after - 2] == "/":
            return Block(name, begin, after, after, after)
        close = self._closing(name, after, end)
        if close is not None:
            return Block(name, begin, close[1], after, close[0])
        # An image's tag is often sent as a text of its own, before the picture.
        return Block(name, begin, after, after, after) if name == "image" else None

    def block_before(self, begin: int, end: int) -> Block | None:
        """The block whose closing tag ends at `end`; None when there is no such tag, or nothing opens it."""
        close = _CLOSE_AT_END.search(self.text, max(begin, end - 80), end)
        if close is None:
            return None
        name, place = close[1], close.start()
        opening, closing = f"<{name}", f"</{name}"
        depth, limit = 1, place
        unbalanced: Block | None = None
        for _ in range(_MAX_DEPTH):
            start = self.rfind(opening, begin, limit)
            if start < 0:
                break
            depth += self.count(closing, start, limit) - 1
            limit = start
            tag = _OPEN.match(self.text, start, place)
            if tag is None or tag[1] != name or self.text[tag.end() - 2] == "/":
                continue
            block = Block(name, start, end, tag.end(), place)
            if depth <= 0:
                return block
            if unbalanced is None or begins_line(self.text, start, begin):
                unbalanced = block
        return unbalanced

    def _closing(self, name: str, begin: int, end: int) -> tuple[int, int] | None:
        """Where the closing tag of a block begins and ends whose content begins at `begin`."""
        opening, closing = f"<{name}", f"</{name}"
        depth, place = 1, begin
        last: tuple[int, int] | None = None
        for _ in range(_MAX_DEPTH):
            close = self.find(closing, place, end)
            if close < 0:
                return last  # what it holds may mention the opening tag alone
            # Tags whose names only begin alike, as <files> and <file>, are counted too: they open and close as often.
            depth += self.count(opening, place, close) - 1
            place = close + len(closing)
            stop = self.text.find(">", place, min(end, place + 8))
            if stop < 0 or self.text[place:stop].strip():
                continue
            last = close, stop + 1
            if depth <= 0:
                return last
        # Deeper than any program goes: the last one that closes.
        close = self.rfind(f"{closing}>", begin, end)
        return last if close < 0 else (close, close + len(closing) + 1)


def known_blocks(text: str, opening: re.Pattern[str]) -> list[tuple[int, int]]:
    """The closed blocks whose opening tag matches `opening`, outermost ones, in order."""
    scanner, found = Scanner(text), list[tuple[int, int]]()
    place = unclosed = 0
    while unclosed < _MAX_DEPTH and len(found) < _MAX_DEPTH and (tag := opening.search(text, place)) is not None:
        block = scanner.block_at(tag.start(), len(text))
        if block is None:
            place, unclosed = tag.end(), unclosed + 1
        else:
            found.append((block.begin, block.end))
            place = block.end
    return [] if scanner.gave_up else found


def opening_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for the opening tags of these names."""
    return re.compile(f"<(?:{'|'.join(map(re.escape, names))})(?=[\\s>])")


def plain_name(name: str) -> str:
    """A tag's name without differences of case and of `-` and `_`."""
    return name.lower().replace("-", "_")


def begins_line(text: str, place: int, begin: int) -> bool:
    """Whether only blanks stand between `place` and the line's or the stretch's beginning."""
    line = text.rfind("\n", max(begin, place - 200), place) + 1
    return not text[max(line, begin) : place].strip(" \t") if line or place - begin <= 200 else False
