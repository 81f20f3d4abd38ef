"""Lines and marks beside a request: rules that follow it, a label or a heading before it, quotation marks around it."""

from __future__ import annotations

import re

from routing_service.asks.spans import Piece, skip_space

# How much of a long text is searched for a line that ends the request, or begins it.
WINDOW = 16_384

_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“", "「": "」"}
_LABEL = re.compile(
    r"(?:Directive|(?:The )?[Uu]ser(?:'s)? (?:[Rr]equest|[Qq]uery|[Qq]uestion|[Mm]essage|[Ii]nput|[Pp]rompt)):\s"
)
_REQUEST_HEADING = re.compile(
    r"^#{1,6}[ \t]+(?:my|(?:the[ \t]+)?user(?:'s)?|current|actual)[ \t]+"
    r"(?:request|question|query|task|prompt|message|instructions?)\b[^\n]{0,60}$",
    re.I | re.M,
)
# Lines after which only a program's rules for the answer follow.
_RULES = re.compile(
    r"^(?:To suggest changes to a file you MUST\b|#{1,6} (?:task_progress\b|([^\n]{0,80})\b[Rr]ules:?[ \t]*$)"
    r"|\[(?:IMPORTANT|REMINDER|SYSTEM)\b[^\n]{0,40}[\]:])",
    re.M,
)
# Of headings that end with "rules", those of rules for an answer; a game has rules as well.
_ANSWER_RULES = re.compile(
    r"SEARCH/REPLACE|\b(?:file|edit|output|format|response|answer|cod(?:e|ing)|tool|commit|shell)", re.I
)
_RULES_HINTS = ("ules", "you MUST", "# task_progress", "\n[")


def may_have_headings(text: str, begin: int, end: int) -> bool:
    """Whether a line may begin rules or a request; most texts have none, and this is quick."""
    if end - begin <= 2 * WINDOW:
        return "\n#" in text or "you MUST" in text or "\n[" in text or "ules" in text
    parts = (text[begin : begin + WINDOW], text[end - WINDOW : end])
    return any("\n#" in part or "you MUST" in part or "\n[" in part or "ules" in part for part in parts)


def before_rules(text: str, begin: int, end: int) -> Piece | None:
    """What stands before the rules that a program appends: in the head of a long text, else in its tail."""
    for start, stop in ((begin, min(end, begin + WINDOW)), (max(begin, end - WINDOW), end)):
        part = text[start:stop]
        if any(hint in part for hint in _RULES_HINTS):
            line = skip_space(text, start, stop)
            for rules in _RULES.finditer(text, text.find("\n", line, stop) + 1 or stop, stop):
                if rules[1] is None or _ANSWER_RULES.search(rules[1]):
                    return begin, rules.start()
        if stop == end:
            break
    return None


def after_label(text: str, begin: int, end: int, *, peeled: bool) -> Piece | None:
    """What stands after a label, where a program's text was taken away before it, or after a heading of the request."""
    label = _LABEL.match(text, begin, end)
    if label is not None and (peeled or text[begin] == "D") and holds(text, (label.end(), end)):
        return label.end(), end
    tail = max(begin, end - WINDOW)
    if text[begin] == "#" or text.find("\n#", tail, end) >= 0:
        heading = None
        for heading in _REQUEST_HEADING.finditer(text, tail, end):  # noqa: B007 - the last one
            pass
        if heading is not None and holds(text, (heading.end(), end)):
            return heading.end(), end
    return None


def unquoted(text: str, begin: int, end: int) -> Piece | None:
    """What stands between quotation marks; None without a pair around the whole."""
    close = _QUOTES.get(text[begin])
    if close is None or text[end - 1] != close or end - begin < 3:
        return None
    if end - begin > WINDOW:
        return None
    if text.find(close * 2, begin + 1, end - 1) >= 0:
        return None  # a cell of CSV, whose marks are doubled
    inside = text.find(close, begin + 1, end - 1)
    # `"a" and "b"` is no quotation: its second mark closes, as it follows a word.
    if inside > 0 and (text[inside - 1].isalnum() or text[inside - 1] in ".,;:!?…)"):
        return None
    return (begin + 1, end - 1) if holds(text, (begin + 1, end - 1)) else None


def holds(text: str, piece: Piece) -> bool:
    """Whether a stretch is more than white space."""
    return skip_space(text, *piece) < piece[1]
