"""Stretches that say nothing: data URIs, base64 and hexadecimal runs, dumps, rulers, and lines that are repeated."""

from __future__ import annotations

import re

from routing_service.asks.spans import Piece, Pieces, merged, outer, without

# A run of letters, digits and the signs of base64 that is no word, no path and no address.
MIN_RUN = 160
# Base64 in lines: so much of two neighbours.
_MIN_LINE = 60
# What is kept of a run, so that there still is one to see.
_KEPT = 16
_KEPT_DATA_URI = re.compile(r"data:[\w.+-]{0,40}/?[\w.+-]{0,40}(?:;[\w=.-]{1,40}){0,3},\Z")
# So many lines in a row are alike.
_MIN_LINES = 4
_MIN_ALIKE = 120
# Of a window with more lines than this, less is looked at.
_MAX_LINES = 1500
_MIN_DUMP_LINE = 20
_DUMP = "a dump"
# In longer texts only the lines at both ends are looked at.
WINDOW = 16_384

_RUN_CHARACTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-%")
_IN_RUNS = bytes(_RUN_CHARACTERS) + b"\r\n"
_STEP = 65_536
_CLASSES = bytes(98 if byte in _RUN_CHARACTERS else 10 if byte in b"\r\n" else 32 for byte in range(256))
_LONG = b"b" * MIN_RUN
_LINE = b"b" * _MIN_LINE
_LINED = b"b" * _MIN_LINE + b"\n" + b"b" * _MIN_LINE
_LINED_CRLF = b"b" * _MIN_LINE + b"\n\n" + b"b" * _MIN_LINE
_RUN = re.compile(rb"b+(?:\n{1,2}b{16,})*")
_DATA_URI = re.compile(r"data:[\w.+-]{0,40}/?[\w.+-]{0,40}(?:;[\w=.-]{1,40}){0,3},\Z")
_MIN_RULER = 60
# Those that are no run.
_OTHER_RULERS = tuple(sign * _MIN_RULER for sign in "*~#.─━═")
_RULER = re.compile(r"^[ \t]{0,16}([-=*_~#+.─━═])\1{59,}[ \t]*$", re.M)
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_DUMP_LINE = re.compile(r"(?:0x)?[0-9a-fA-F]{4,16}:?[ \t]{1,4}(?:[0-9a-fA-F]{2,8}[ \t]{1,4}){4,}[^\n]{0,80}\Z")


def without_blobs(text: str) -> Pieces | None:
    """What is left without them; of each run its first characters stay. None when there are none."""
    if len(text) < MIN_RUN // 2:
        return None
    removed = _runs(text) if len(text) > MIN_RUN // 2 else []
    removed += _lines(text)
    if not removed:
        return None
    return outer(text, without(0, len(text), merged(removed)))


def may_have_blobs(text: str) -> bool:
    """Whether a text that is not long has a long run, or lines that are alike; quicker than to look where."""
    if len(text) <= MIN_RUN // 2:
        return False
    if _LINE in _classes(text):
        return True
    count = text.count("\n")
    if count >= _MIN_LINES - 1:
        return "0000" in text or count + 2 - len(set(text.split("\n"))) >= _MIN_LINES
    return any(map(text.__contains__, _OTHER_RULERS))


def _runs(text: str) -> list[Piece]:
    size = len(text)
    if size <= 2 * WINDOW:
        return _runs_within(text, 0, size)
    found = _runs_within(text, 0, WINDOW)
    if found and found[-1][1] == WINDOW:
        found[-1] = (found[-1][0], _end_of_run(text))
    begin = max(size - WINDOW, found[-1][1] if found else 0)
    last = _runs_within(text, begin, size)
    if last and last[0][0] - _KEPT <= begin == size - WINDOW:
        start = _start_of_run(text, WINDOW)
        last[0] = (max(start, found[-1][1] if found else 0) + _KEPT, last[0][1])
    return found + last


def _end_of_run(text: str) -> int:
    """Where the run ends that goes on after the first window, perhaps with the text."""
    for place in range(WINDOW, len(text), _STEP):
        part = text[place : place + _STEP].encode("ascii", "replace")
        if part.translate(None, _IN_RUNS):
            return place + len(part) - len(part.lstrip(_IN_RUNS))
    return len(text)


def _start_of_run(text: str, least: int) -> int:
    """Where the run begins in which the last window begins."""
    for place in range(len(text) - WINDOW, least, -_STEP):
        part = text[max(least, place - _STEP) : place].encode("ascii", "replace")
        if part.translate(None, _IN_RUNS):
            return place - len(part) + len(part.rstrip(_IN_RUNS))
    return least


def _runs_within(text: str, begin: int, end: int) -> list[Piece]:
    classes = _classes(text[begin:end])
    found: list[Piece] = []
    for wanted in (_LONG, _LINED, _LINED_CRLF):
        place = 0
        while (start := classes.find(wanted, place)) >= 0:
            before = classes[max(place, start - 256) : start]
            start -= len(before) - len(before.rstrip(b"b"))
            run = _RUN.match(classes, start)
            place = run.end() if run else start + 1
            found.append((_start_of_uri(text, begin + start), begin + place))
    return merged(found)


def _start_of_uri(text: str, start: int) -> int:
    """Where what goes begins of a run at `start`: with the data URI that it belongs to, else after its first signs."""
    at = text.find("data:", max(0, start - 100), start)
    uri = _DATA_URI.search(text, at, start) if at >= 0 else None
    return uri.start() if uri else start + _KEPT


def _classes(text: str) -> bytes:
    """One byte a character, so that places stay the same; others than ASCII are in no run."""
    return text.encode("ascii", "replace").translate(_CLASSES)


def _lines(text: str) -> list[Piece]:
    """Rulers, dumps and repeated lines in the windows at both ends."""
    size = len(text)
    windows = [(0, size)] if size <= 2 * WINDOW else [(0, WINDOW), (size - WINDOW, size)]
    found: list[Piece] = []
    for begin, end in windows:
        part = text[begin:end]
        if (count := part.count("\n")) > _MAX_LINES:
            kept = len(part) * _MAX_LINES // count
            begin, end = (begin, begin + kept) if not begin else (end - kept, end)  # noqa: PLW2901 - less of it
            part = text[begin:end]
        lines = part.split("\n")
        if any(len(line) >= _MIN_RULER and line[30] == line[41] == line[52] for line in lines):
            found += [(begin + ruler.start(), begin + ruler.end()) for ruler in _RULER.finditer(part)]
        # So many lines are there again, or a dump counts from 0.
        if len(lines) - len(set(lines)) >= _MIN_LINES - 1 or ("00" in part and len(lines) >= _MIN_LINES):
            alike = [(begin + a, begin + b) for a, b in _alike(lines)]
            if alike and not begin and size > end and alike[-1][1] >= end - 1 - len(part) // _MIN_LINES:
                alike[-1] = (alike[-1][0], _repeated(text, alike[-1][1]))
            found += alike
    return found


def _repeated(text: str, place: int) -> int:
    """Where the line that ends at `place` is repeated for the last time, in steps of many lines."""
    line = text[text.rfind("\n", 0, place) : place]
    for times in (1024, 1):
        block = line * times
        while text.startswith(block, place):
            place += len(block)
    return place


def _alike(lines: list[str]) -> list[Piece]:
    """Of equal lines in a row, and of lines of a dump, all but the first."""
    found: list[Piece] = []
    at = first_end = count = 0
    before: str | None = None
    for line in [*lines, None]:
        kind = line
        if line and line[0] in _HEXADECIMAL and len(line) > _MIN_DUMP_LINE and _DUMP_LINE.match(line):
            kind = _DUMP
        if kind != before:
            # A grid of stars is drawn on purpose; what repeats words is not.
            words = before is not None and any(map(str.isalnum, before[:80]))
            if count >= _MIN_LINES and words and at - 1 - first_end >= _MIN_ALIKE:
                found.append((first_end, at - 1))
            before, count = kind, 0
            # Nothing of a dump is worth reading; of other lines the first is.
            first_end = at if kind == _DUMP else at + len(line or "")
        count += 1
        at += len(line or "") + 1
    return found
