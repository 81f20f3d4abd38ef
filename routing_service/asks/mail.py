"""Quoted mail: what the writer adds to it, above, below or between the lines that are quoted."""

from __future__ import annotations

import re

from routing_service.asks.spans import Pieces, merged, outer, without

# A longer text is only divided into what stands before and after all that is quoted.
WINDOW = 16_384
_ATTRIBUTION = re.compile(
    r"^(?:On|Am|Le|El|Il|Em|Op|Den)\b[^\n]{4,160}(?:\n[^\n]{0,80})?"
    r"\b(?:wrote|a écrit|escribió|ha scritto|escreveu|(?:schrieb|schreef|skrev)[^\n:]{0,80})\s?:[ \t]*$"
    r"|^-{2,} ?(?:Original Message|Forwarded message|Original-Nachricht|Ursprüngliche Nachricht) ?-{2,}[ \t]*$",
    re.M,
)
_QUOTED = re.compile(r"^>[^\n]*(?:\n|\Z)", re.M)


def unquoted(text: str) -> Pieces | None:
    """What is not quoted; None when the text quotes no mail, or nothing else.

    Lines of a Python session, which begin with `>>> `, are no quotation unless somebody wrote them in a mail.
    """
    size = len(text)
    head = text if size <= 2 * WINDOW else text[:WINDOW]
    tail = head if size <= 2 * WINDOW else text[size - WINDOW :]
    has_lines = head.startswith(">") or "\n>" in head or "\n>" in tail
    attribution = None
    if has_lines or has_hint(head):
        attribution = _ATTRIBUTION.search(head)
    if attribution is None and (not has_lines or ">>>" in head or not (_several(head) or _several(tail))):
        return None
    first = attribution.start() if attribution else len(head)
    if not has_lines:
        # Without marks the rest of the text is the old mail.
        return outer(text, ((0, first),)) or None
    if size <= 2 * WINDOW:
        removed = [match.span() for match in _QUOTED.finditer(text)]
        removed += [match.span() for match in _ATTRIBUTION.finditer(text)]
        return outer(text, without(0, size, merged(removed))) or None
    quoted = 0 if head.startswith(">") else head.find("\n>") + 1 or len(head)
    last = tail.rfind("\n>") + 1
    stop = tail.find("\n", last) if last or tail.startswith(">") else 0
    pieces = [(0, min(first, quoted))] if min(first, quoted) < len(head) else []
    pieces += [(size - len(tail) + stop, size)] if stop > 0 else []
    return (outer(text, tuple(pieces)) or None) if pieces else None


def has_hint(text: str) -> bool:
    """Whether a text may say who wrote what follows; quick."""
    if ":\n" not in text and "-\n" not in text:
        return False
    return (
        "wrote:" in text
        or " Message" in text
        or "schrieb" in text
        or "Nachricht" in text
        or " message-" in text
        or " écrit" in text
        or " scritto" in text
        or "escribi" in text
        or "escreveu" in text
        or "schreef" in text
        or "skrev" in text
    )


def _several(text: str) -> bool:
    """Whether two lines in a row are quoted: one alone may be code, or a comparison."""
    place = 0 if text.startswith(">") else text.find("\n>") + 1
    line = text.find("\n", place)
    return line >= 0 and text.startswith(">", line + 1)
