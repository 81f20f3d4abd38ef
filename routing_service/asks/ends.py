"""Takes from both ends of a text what programs have put there, until the request is at both ends.

Blocks in tags and between marked lines, headings of instruction files, notes about tool calls, and what `labels` knows.
Names that nobody listed count as well: what is judged is the shape.
"""

from __future__ import annotations

import re

from routing_service.asks.labels import WINDOW, after_label, before_rules, holds, may_have_headings, unquoted
from routing_service.asks.spans import Piece, skip_space, trimmed
from routing_service.asks.tags import ASKS, ASKS_ALONE, HTML, WRAPPERS, Block, Scanner, begins_line, plain_name

# More blocks than this in a row are no program's.
MAX_BLOCKS = 128
# What a text begins or ends with where something may be around it.
_INTRODUCING = frozenset("THBCAFRO")
_FIRST = frozenset('<#-=*`"“«„「D[{') | _INTRODUCING
_LAST = frozenset(">-=#*`")
_INSTRUCTION_FILE = re.compile(r"#{1,6} [^\n]{0,200}\.md\b[^\n]{0,400}\n\s{0,100}(?=<)")
# A line that introduces a block, where it does not itself ask for something.
_INTRODUCTION = re.compile(
    r"(?:The|Here|This|These|Below|Codebase|Context|Current(?:ly)?|Attached|Files?|Contents?|Relevant|Open)\b[^\n]{0,300}:"
    r"[ \t]*\n\s{0,8}(?=<[A-Za-z_]|`{3})"
)
_ANY_FENCE = re.compile(r"(`{3,8})[^\n`]{0,100}\n")
# "[CONTEXT] ... [/CONTEXT]" and "{{context}} ... {{/context}}", on lines of their own.
_BRACKETS = re.compile(r"(\[|\{\{)([A-Z][A-Z0-9 _-]{2,40}|(?<=\{\{)[a-z][a-z0-9_-]{2,40})(\]|\}\})[ \t]*\n")
_FORMATS = frozenset(("CODE", "QUOTE", "IMG", "URL", "INST", "SPOILER", "TABLE", "LIST", "SIZE", "COLOR"))
# A fence that is named after a file, as editors attach one, perhaps with its lines.
_FILE_FENCE = re.compile(
    r"(`{3,8})[ \t]*(?:[\w+-]{1,20}[ \t:]+)?(?:[\w.@~-]+[/\\])*[\w.@-]+\.\w{1,10}(?:[ \t:(#][\w \t:,()#-]{0,40})?\n"
)
_COLONS = (":", "\uff1a")
# How much of a block is looked at for a second line.
_HEAD = 1000
# What is left of an image's tags, which some programs send as parts of their own.
_STRAY = "</image>"
_TOOL_NOTE = re.compile(r"Called the [\w.:-]{1,60} tool with the following input:[^\n]*(?:\n|\Z)")
# "--- Content of x ---", "===== BEGIN CONTEXT =====", and what ends it.
_MARK = re.compile(
    r"(-{3,80}|={3,80}|#{3,80}|\*{3,80}) ?(?=(?:begin|start|content|context|file|document|attach|source))"
    r"[^\n]{0,200}\n",
    re.I,
)


def peel(text: str, extra: frozenset[str]) -> Piece | None:
    """The request between what a program has put around it; None when there is nothing of the kind.

    Args:
        text: not blank.
        extra: names of further tags that are a program's.
    """
    begin, end = trimmed(text, 0, len(text))
    if text[begin] not in _FIRST and text[end - 1] not in _LAST and not may_have_headings(text, begin, end):
        return None
    ends = _Ends(text, extra)
    whole, front, back = (begin, end), -1, -1
    for _ in range(MAX_BLOCKS):
        if begin >= end:
            # Blocks and nothing else: the last of those that may hold a request.
            return ends.alone[-1] if ends.alone else (begin, begin)
        found = ends.front(begin, end) if front != begin else None
        if found is None:
            front = begin
            found = ends.back(begin, end) if back != end else None
        if found is None:
            back = end
            found = after_label(text, begin, end, peeled=(begin, end) != whole) or unquoted(text, begin, end)
        if found is None:
            break
        begin, end = trimmed(text, *found)
    else:
        return None
    if ends.gave_up:
        return None
    if (begin, end) == whole:
        return None
    # A request that speaks of `<data>` is about it, and is left with it.
    near = text[begin : min(end, begin + WINDOW)]
    if any(f"<{name}" in near for name in ends.generic):
        return None
    return begin, end


class _Ends:
    """Finds what to take from the ends of a text.

    `alone` has the contents of blocks that may hold the request where nothing stands outside of blocks, `generic` the
    names of tags that nobody listed.
    """

    def __init__(self, text: str, extra: frozenset[str]) -> None:
        self._text, self._known = text, extra | _KNOWN
        self._scanner = Scanner(text)
        self.alone: list[Piece] = []
        self.generic: set[str] = set()

    @property
    def gave_up(self) -> bool:
        return self._scanner.gave_up

    def front(self, begin: int, end: int) -> Piece | None:
        """What is left when something is taken from the beginning; None when nothing is."""
        text, first = self._text, self._text[begin]
        if first == "<":
            if text.startswith(_STRAY, begin, end):
                return begin + len(_STRAY), end
            block = self._scanner.block_at(begin, end)
            return None if block is None else self._after(block, end)
        if first in "[{" and (mark := _BRACKETS.match(text, begin, end)) and mark[2] not in _FORMATS:
            stop = self._scanner.find(f"\n{mark[1]}/{mark[2]}{mark[3]}", mark.end() - 1, end)
            return None if stop < 0 else (self._line_end(stop + 1, end), end)
        if first in _INTRODUCING and (introduction := _INTRODUCTION.match(text, begin, end)):
            return self._after_introduction(introduction.end(), end)
        if first == "`" and (fence := _FILE_FENCE.match(text, begin, end)):
            stop = self._scanner.find(f"\n{fence[1]}", fence.end() - 1, end)
            return None if stop < 0 else (self._line_end(stop + 1, end), end)
        if first == "#" and (heading := _INSTRUCTION_FILE.match(text, begin, end)):
            return heading.end(), end
        if first == "C" and (note := _TOOL_NOTE.match(text, begin, end)):
            return note.end(), end
        if first in "-=#*" and (mark := _MARK.match(text, begin, end)):
            close = self._end_mark(mark[1], mark.end() - 1, end)
            return None if close is None else (close, end)
        return None

    def back(self, begin: int, end: int) -> Piece | None:
        """What is left when something is taken from the end; None when nothing is."""
        text, last = self._text, self._text[end - 1]
        if last == ">":
            block = self._scanner.block_before(begin, end)
            return None if block is None else self._before(block, begin)
        if last == "`":
            return self._before_fence(begin, end)
        if last in "-=#*":
            line = text.rfind("\n", max(begin, end - 300), end) + 1
            ruler = text[line:end].partition(" ")[0]
            if line > begin and len(ruler) >= 3 and text[line + len(ruler) :].lstrip()[:3].lower() == "end":
                start = self._begin_mark(ruler, begin, line)
                if start is not None:
                    return begin, start
        return before_rules(text, begin, end)

    def _after(self, block: Block, end: int) -> Piece | None:
        text, name, rest = self._text, plain_name(block.name), skip_space(self._text, block.end, end)
        inner = (block.inner_begin, block.inner_end)
        if _asks(block):
            return inner if holds(text, inner) else (rest, end)
        if block.name not in self._known:
            # What ends a line, or has several; in the middle of a sentence it is a word.
            ends_line = rest == end or text[rest] == "<" or "\n" in text[block.end : rest]
            if name in HTML or not (ends_line or "\n" in text[block.begin : block.begin + _HEAD]):
                return None
            self.generic.add(block.name)
        self._keep(block.name, inner)
        return block.end, end

    def _before(self, block: Block, begin: int) -> Piece | None:
        text, name = self._text, plain_name(block.name)
        inner = (block.inner_begin, block.inner_end)
        if _asks(block) and begins_line(text, block.begin, begin):
            return inner if holds(text, inner) else (begin, block.begin)
        if block.name not in self._known:
            before = text[max(begin, block.begin - 200) : block.begin].rstrip()
            # "Translate this text:" needs what follows it.
            if name in HTML or before.endswith(_COLONS) or not begins_line(text, block.begin, begin):
                return None
            self.generic.add(block.name)
        self._keep(block.name, inner)
        return begin, block.begin

    def _keep(self, name: str, inner: Piece) -> None:
        if plain_name(name) in ASKS_ALONE and name not in self._known and holds(self._text, inner):
            self.alone.append(trimmed(self._text, *inner))

    def _after_introduction(self, begin: int, end: int) -> Piece | None:
        """What stands after a block or a fence that a line introduces, if anything does."""
        if self._text[begin] == "<":
            block = self._scanner.block_at(begin, end)
            stop = -1 if block is None or plain_name(block.name) in HTML else block.end
        else:
            fence = _ANY_FENCE.match(self._text, begin, end)
            stop = -1 if fence is None else self._scanner.find(f"\n{fence[1]}", fence.end() - 1, end)
            stop = stop if stop < 0 else self._line_end(stop + 1, end)
        return (stop, end) if stop >= 0 and holds(self._text, (stop, end)) else None

    def _before_fence(self, begin: int, end: int) -> Piece | None:
        """What stands before a file in a fence that ends the text; None without one."""
        line = self._text.rfind("\n", max(begin, end - 100), end) + 1
        ruler = self._text[line:end]
        if line <= begin or ruler.strip("`") or len(ruler) < 3:
            return None
        start = self._scanner.rfind(f"\n{ruler}", begin, line - 1) + 1
        is_file = start > 0 and _FILE_FENCE.match(self._text, start, end) is not None
        before = self._text[max(begin, start - 200) : start].rstrip()
        return (begin, start) if is_file and not before.endswith(_COLONS) else None

    def _line_end(self, place: int, end: int) -> int:
        line = self._text.find("\n", place, min(end, place + 200))
        return min(end, place + 200) if line < 0 else line

    def _end_mark(self, ruler: str, begin: int, end: int) -> int | None:
        """The end of the line that closes a marked block; None without one."""
        place, wanted = begin, f"\n{ruler}"
        for _ in range(MAX_BLOCKS):
            place = self._scanner.find(wanted, place, end)
            if place < 0:
                return None
            place += len(wanted)
            if self._text[place : place + 4].lstrip(" ")[:3].lower() == "end":
                return self._line_end(place, end)
        return None

    def _begin_mark(self, ruler: str, begin: int, end: int) -> int | None:
        """Where the line begins that opens the marked block before `end`."""
        place = end
        for _ in range(MAX_BLOCKS):
            place = self._scanner.rfind(ruler, begin, place)
            if place < 0:
                return None
            if begins_line(self._text, place, begin) and _MARK.match(self._text, place, end):
                return place
        return None


def _asks(block: Block) -> bool:
    """Whether a block holds the request. A common word with attributes is the tag of some format's instead."""
    name = plain_name(block.name)
    has_attributes = block.inner_begin - block.begin > len(name) + 2
    return name in ASKS and (name.startswith("user") or not has_attributes)


_KNOWN = frozenset(WRAPPERS)
