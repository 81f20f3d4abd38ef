"""A question with material: retrieved passages, or a file or a log that was piped in before or after it."""

from __future__ import annotations

import re

from routing_service.asks.spans import Piece, Pieces, trimmed

HEAD, TAIL = 4096, 8192
MIN_LENGTH = 80
# Shorter texts are read with their material.
MIN_PIPED = 4000
MIN_LINES = 20
MAX_ASK = 2000
_MAX_ASK_LINES = 40
_MAX_QUESTION = 600
_SAMPLE = 2048

# How retrieval prompts begin: they name the material, or say what to do with it.
_OPENING = re.compile(
    r"\b(?:use|using|given|based (?:only |solely )?(?:up)?on|consider|according to|refer to|rely on|with|from|in|to)\s+"
    r"(?:only\s+|just\s+)?(?:the|these|this)\s+(?:following|above|below|provided|given|retrieved|relevant)?\s*"
    r"(?:(?:piece|excerpt|chunk|part)s? (?:of|from)\s+)?(?:retrieved\s+|provided\s+|given\s+|relevant\s+)?"
    r"(?:context|documents?|passages?|sources?|search results?|articles?|excerpts?|snippets?|references?|"
    r"knowledge|tools)\b",
    re.I,
)
_MATERIAL = re.compile(
    r"^[#*\s]{0,6}(?:retrieved |relevant |provided |background )?"
    r"(?:contexts?|documents?|passages?|sources?|search results?|references?|excerpts?|knowledge base|background)"
    r"(?: information)?(?: is)?(?: (?:given|provided))?(?: below)?(?: \d{1,3})?\**[ \t]*[:.]"
    r"|^(?:#{1,6}[ \t]+|\*\*|\[)"
    r"(?:contexts?|documents?|passages?|sources?|search results?|references?|excerpts?)(?:\*\*|\])?[ \t]*$",
    re.I | re.M,
)
_QUESTION = re.compile(
    r"^[#*\s]{0,6}(?:(?:the |my )?(?:user|human|customer)(?:'s)? )?(?:question|query|request|user|human)"
    r"\**[ \t]*[:\uff1a]\**"
    r"|^(?:#{1,6}[ \t]+|\*\*|\[)(?:(?:the |my )?(?:user|human|customer)(?:'s)? )?"
    r"(?:question|query|request)(?:\*\*|\])?[ \t]*$",
    re.I | re.M,
)
_ANSWER = re.compile(
    r"\n[#*\s]{0,6}(?:(?:your|the|helpful|final|short|best|concise) ){0,2}(?:answer|response|reply|assistant|thought)"
    r"(?: in [^\n:]{1,40})?\**[ \t]*[:\uff1a]\**\s*\Z",
    re.I,
)
# The turns of a prompt for a model that completes texts.
_TURN = re.compile(r"^(?:user|human)[ \t]*:", re.I | re.M)
_NEXT_TURN = re.compile(r"\n(?:assistant|ai|bot|model)[ \t]*:\s{0,20}\Z", re.I)
_ANSWERING = re.compile(r"\b(?:answer|respond|reply|question|query)", re.I)
_INLINE = re.compile(r"[:\uff1a]\s*([^\n]{3,600}[?\uff1f])[ \t]*$", re.M)

_DIGITS = bytes(range(48, 58))
_LETTERS = bytes((*range(65, 91), *range(97, 123)))
_SPACE = b" \t\r\n"
_LEVELS = (b"INFO", b"WARN", b"ERROR", b"DEBUG", b"TRACE", b"\tat ", b'  File "')


def question(text: str) -> Piece | None:
    """The question of a retrieval prompt; None when the text is none, or asks several, as examples do."""
    if "\n" not in text or len(text) < MIN_LENGTH or not may_ask(text):
        return None
    head = text[:HEAD]
    opening = _OPENING.search(head, 0, 400)
    if opening is not None and not _ANSWERING.search(head, max(0, opening.start() - 200), opening.end() + 200):
        opening = None
    material = _MATERIAL.search(head)
    if opening is None and material is None:
        return None
    tail = max(0, len(text) - TAIL)
    labels = list(_QUESTION.finditer(text, tail))
    if tail:
        labels += [label for label in _QUESTION.finditer(head) if label.start() < min(tail, HEAD)]
    answer = _ANSWER.search(text, max(0, len(text) - 200))
    stop = answer.start() if answer else len(text)
    if len(labels) > 1:
        return None
    if labels:
        begin = labels[0].end()
        after = _MATERIAL.search(text, begin, min(stop, begin + HEAD))
        if after is None and material is not None and material.start() > begin:
            after = material
        return _filled(text, begin, after.start() if after else stop)
    if opening is None:
        return None
    # No label: the last paragraph asks, or the first line does.
    last = text.rfind("\n\n", tail, stop)
    if last >= 0:
        begin, end = trimmed(text, last, stop)
        if end - begin <= _MAX_QUESTION and text[end - 1] in "?\uff1f":
            return begin, end
    inline = _INLINE.search(head, 0, 1000)
    return None if inline is None else inline.span(1)


def last_turn(text: str) -> Piece | None:
    """What the user says last in a prompt of turns that ends where the assistant's begins; None for any other."""
    following = _NEXT_TURN.search(text, max(0, len(text) - 40))
    if following is None:
        return None
    turns = [turn.end() for turn in _TURN.finditer(text, max(0, following.start() - TAIL), following.start())]
    return _filled(text, turns[-1], following.start()) if turns else None


def may_ask(text: str) -> bool:
    """Whether the words are there that every such prompt has; most texts lack them, and this is quick."""
    head = text[:HEAD].lower()
    return (_asks(head) or (len(text) > HEAD and _asks(text[-TAIL:].lower()))) and _has_noun(head)


def _asks(text: str) -> bool:
    """Whether a text in lower case has a word before a question, or says what to answer."""
    return (
        "question" in text
        or "query" in text
        or "request" in text
        or "user" in text
        or "human" in text
        or "to answer" in text
        or "answer the" in text
        or "respond to" in text
        or "reply to" in text
    )


def _has_noun(text: str) -> bool:
    """Whether a text in lower case names anything that a question could be answered from."""
    return (
        "context" in text
        or "document" in text
        or "passage" in text
        or "source" in text
        or "search result" in text
        or "reference" in text
        or "excerpt" in text
        or "knowledge" in text
        or "background" in text
        or "article" in text
        or "snippet" in text
        or "following tools" in text
    )


def piped(text: str) -> Pieces | None:
    """What a person wrote before or after lines of a machine: a log, a table, a dump; None for any other text."""
    if len(text) < MIN_PIPED:
        return None
    begin, end = trimmed(text, 0, len(text))
    body_begin, body_end = _first_of_machine(text, begin, end), _last_of_machine(text, begin, end)
    if body_end - body_begin < MIN_PIPED - MAX_ASK:
        return None
    places = (body_begin, (body_begin + body_end) // 2, body_end - _SAMPLE)
    if not all(_is_machines(text[max(body_begin, place) : min(body_end, place + _SAMPLE)]) for place in places):
        return None
    first, last = trimmed(text, begin, body_begin), trimmed(text, body_end, end)
    if first[0] < first[1] and " " not in text[last[0] : last[1]]:
        return (first,)  # a last word is the machine's
    return tuple(piece for piece in (first, last) if piece[0] < piece[1]) or None


def _filled(text: str, begin: int, end: int) -> Piece | None:
    begin, end = trimmed(text, begin, end)
    return (begin, end) if begin < end else None


def _first_of_machine(text: str, begin: int, end: int) -> int:
    """Where the first line stands that a program wrote; `begin` when a person wrote too much before it."""
    place = begin
    for line in text[begin : min(end, begin + MAX_ASK)].split("\n", _MAX_ASK_LINES)[:_MAX_ASK_LINES]:
        if _is_machines_line(line):
            return place
        place += len(line) + 1
    return begin


def _last_of_machine(text: str, begin: int, end: int) -> int:
    """Where the last line ends that a program wrote; `end` when a person wrote too much after it."""
    place = end
    for line in reversed(text[max(begin, end - MAX_ASK) : end].rsplit("\n", _MAX_ASK_LINES)[-_MAX_ASK_LINES:]):
        if _is_machines_line(line):
            return place
        place -= len(line) + 1
    return end


def _is_machines_line(line: str) -> bool:
    ascii_text = line.encode("ascii", "ignore")
    size = len(line)
    digits = len(ascii_text) - len(ascii_text.translate(None, _DIGITS))
    symbols = len(ascii_text.translate(None, _DIGITS + _LETTERS + _SPACE))
    if size >= 8 and digits >= 0.08 * size and digits + symbols >= 0.2 * size:
        return True
    return any(level in ascii_text for level in _LEVELS)


def _is_machines(sample: str) -> bool:
    """Whether a program wrote this: many short lines with many digits and symbols, or with levels of a log."""
    ascii_text = sample.encode("ascii", "ignore")
    size = len(ascii_text)
    if not size or ascii_text.count(b"\n") * _SAMPLE < MIN_LINES * size // 2:
        return False
    digits = size - len(ascii_text.translate(None, _DIGITS))
    symbols = len(ascii_text.translate(None, _DIGITS + _LETTERS + _SPACE))
    if digits >= 0.1 * size and digits + symbols >= 0.2 * size:
        return True
    return 2 * sum(ascii_text.count(level) for level in _LEVELS) >= ascii_text.count(b"\n")
