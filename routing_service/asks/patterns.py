"""Patterns that run in linear time on any text: RE2's where it is installed, else a subset that `re` runs so.

Python's `re` tries alternatives one after the other, and some patterns then need ages for a kilobyte. The subset has no
repeated group, one open repetition and only behind a fixed beginning, and few alternatives in all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from routing_service.extras import pip_install

MAX_LENGTH = 1000
# In how many ways the alternatives and options of a pattern of the subset can be combined: tried once where it begins
# with ^ and repeats nothing without end, else at every place of a text.
MAX_WAYS = 64
MAX_WAYS_ONCE = 10_000
MAX_TIMES = 100

_TOKEN = re.compile(
    r"(?P<group>\((?:\?:)?)|(?P<close>\))|(?P<or>\|)|(?P<anchor>[\^$]|\\[bBAz])"
    r"|(?P<class>\[\^?\]?(?:\\.|[^\]\\\[])*\])|(?P<escape>\\.)|(?P<char>[^\\()\[\]|^$*+?{}])",
    re.DOTALL,
)
_TIMES = re.compile(r"(?:\*|\+|\?|\{(?P<low>\d{1,3})(?P<comma>,(?P<high>\d{1,3})?)?\})\??")
_FLAGS = re.compile(r"\(\?([ims]{1,3})\)")
# Blanks at the beginning, before what can't be one: they need no second try.
_MARGIN = re.compile(
    r"(?:\^|\\A)\\s\*(?=[^\s\\.\[\](){}^$|*+?]|\((?:\?:)?[^\W\d_][^()|]*(?:\|[^\W\d_][^()|]*)*\)(?![*+?{]))"
)
# RE2's classes are those of ASCII.
_ASCII = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\\t\\n\\f\\r "}
_CONTROLS = frozenset("nrtfva")

Finds = Callable[[str], bool]


def compile_pattern(pattern: str) -> Finds:
    """A function that says whether the pattern matches somewhere in a text.

    Raises:
        ValueError: it is no pattern, or needs the package google-re2; the message says what to do.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"has {len(pattern):,} characters; at most {MAX_LENGTH:,} are taken")
    try:
        import re2
    except ImportError:
        return _compile_subset(pattern)
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(pattern.encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is no pattern of RE2: {said}") from error
    return lambda text: found.search(text.encode("utf-8", "replace")) is not None


def _compile_subset(pattern: str) -> Finds:
    flags, body = 0, pattern
    if leading := _FLAGS.match(pattern):
        for flag in leading[1]:
            flags |= {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}[flag]
        body = pattern[leading.end() :]
    fixed = body.startswith(("^", "\\A")) and not flags & re.MULTILINE and not _has_alternatives(body)
    translated = "".join(_translated(body, fixed=fixed, multiline=bool(flags & re.MULTILINE)))
    try:
        found = re.compile(translated, flags)
    except re.error as error:
        raise ValueError(f"is no pattern: {error.msg}") from error
    # What begins with ^ is tried once, and not at every place.
    find = found.match if fixed else found.search
    return lambda text: find(text) is not None


def _has_alternatives(body: str) -> bool:
    """Whether a pattern has alternatives outside of groups, so that a first ^ is only one of them's."""
    place = depth = 0
    while place < len(body):
        token = _TOKEN.match(body, place)
        if token is None:
            place += 1
            continue
        place = token.end()
        depth += (token.lastgroup == "group") - (token.lastgroup == "close")
        if token.lastgroup == "or" and depth <= 0:
            return True
    return False


def _translated(body: str, *, fixed: bool, multiline: bool) -> Iterator[str]:
    """The pattern for `re`, piece by piece; refuses what is not in the subset."""
    place, depth, ways, is_open = 0, 0, 1, False
    if fixed and (margin := _MARGIN.match(body)):
        place = margin.end()
        yield f"\\A[{_ASCII['s']}]*+"
    while place < len(body):
        token = _TOKEN.match(body, place)
        if token is None or (token["group"] == "(" and body.startswith("(?", place)):
            raise _beyond(f"{body[place : place + 3]!r}")
        place, kind = token.end(), token.lastgroup
        if kind == "group":
            depth += 1
            yield "(?:"
            continue
        if kind == "or":
            ways += 1
            yield "|"
            continue
        if kind == "close":
            depth -= 1
            if depth < 0:
                raise ValueError("is no pattern: a ) without a (")
        yield _one(token[0], kind or "", multiline=multiline)
        times = _TIMES.match(body, place)
        if times is None:
            continue
        place = times.end()
        if kind in ("close", "anchor") and times[0] != "?":
            raise _beyond(f"the repeated group or anchor before {times[0]!r}")
        low, high = int(times["low"] or 0), int(times["high"] or times["low"] or 0)
        if times[0][0] in "*+" or (times["comma"] and not times["high"]):
            if is_open or depth or not fixed:
                raise _beyond(f"{times[0]!r} anywhere but once, outside of groups, in a pattern that begins with ^")
            is_open = True
        elif times[0][0] == "?":
            ways *= 2
        elif max(low, high) > MAX_TIMES or high < low:
            raise _beyond(f"{times[0]!r}")
        else:
            ways *= high - low + 1
        yield times[0]
    if depth:
        raise ValueError("is no pattern: a ( without a )")
    if ways > (MAX_WAYS_ONCE if fixed and not is_open else MAX_WAYS):
        raise _beyond("so many alternatives and options")


def _one(piece: str, kind: str, *, multiline: bool) -> str:
    """A token of RE2 as `re` writes it."""
    if piece == "$" and not multiline:
        return r"\Z"  # RE2's means the end, without a last newline
    if piece in (r"\z", r"\A"):
        return r"\Z" if piece == r"\z" else piece
    if piece in (r"\b", r"\B"):
        return f"(?a:{piece})"
    if kind == "escape":
        return _escape(piece[1], inside=False)
    if kind == "class":
        return re.sub(r"\\(.)", lambda found: _escape(found[1], inside=True), piece)
    return piece


def _escape(letter: str, *, inside: bool) -> str:
    if (low := letter.lower()) in _ASCII:
        if inside and letter.isupper():
            raise _beyond(f"'\\{letter}' inside of []")
        return _ASCII[low] if inside else f"[{'^' if letter.isupper() else ''}{_ASCII[low]}]"
    if letter.isalnum() and letter not in _CONTROLS:
        raise _beyond(f"'\\{letter}'")
    return f"\\{letter}"


def _beyond(what: str) -> ValueError:
    return ValueError(
        f"has {what}, which only the package google-re2 matches in linear time; write it more simply, or run: "
        f"{pip_install('routing-service', 'rules')}"
    )
