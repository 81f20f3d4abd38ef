"""Stretches of a text, and what is left when stretches of what was left are taken out in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Piece = tuple[int, int]
"""Where a stretch of a text begins and ends, in characters from 0; the end is the first character outside."""
Pieces = tuple[Piece, ...]


def joined(text: str, pieces: Sequence[Piece]) -> str:
    """The text of the pieces, one after the other."""
    return "".join([text[begin:end] for begin, end in pieces])


def within(outer: Sequence[Piece], inner: Iterable[Piece]) -> Pieces:
    """Pieces, in order, of the text that `outer` joins, as pieces of the text that `outer` is of."""
    found: list[Piece] = []
    place = at = 0  # the piece of `outer` that is looked at, and where it begins in what they join
    for begin, end in inner:
        while begin < end:
            start, stop = outer[place]
            if begin >= at + stop - start:
                at, place = at + stop - start, place + 1
                continue
            low, high = start + begin - at, min(stop, start + end - at)
            if found and found[-1][1] == low:
                found[-1] = (found[-1][0], high)
            else:
                found.append((low, high))
            begin += high - low  # noqa: PLW2901 - what is left of it
    return tuple(found)


def without(begin: int, end: int, removed: Iterable[Piece]) -> Pieces:
    """What is left of a stretch when others, in order and apart, are taken out."""
    left: list[Piece] = []
    for start, stop in removed:
        if begin < start:
            left.append((begin, start))
        begin = max(begin, stop)
    if begin < end:
        left.append((begin, end))
    return tuple(left)


def trimmed(text: str, begin: int, end: int) -> Piece:
    """The stretch without the white space at its ends; it may be empty."""
    if begin < end and not (text[begin].isspace() or text[end - 1].isspace()):
        return begin, end
    begin = skip_space(text, begin, end)
    step = 256
    while end > begin:
        tail = text[max(begin, end - step) : end]
        kept = len(tail.rstrip())
        end -= len(tail) - kept
        if kept:
            break
        step *= 2
    return begin, end


def skip_space(text: str, begin: int, end: int) -> int:
    """The place of the first character from `begin` on that is not white space; `end` when there is none."""
    step = 256
    while begin < end:
        head = text[begin : min(end, begin + step)]
        kept = len(head.lstrip())
        begin += len(head) - kept
        if kept:
            break
        step *= 2
    return begin


def merged(pieces: list[Piece]) -> list[Piece]:
    """The same stretches in order, those that touch as one."""
    found: list[Piece] = []
    for begin, end in sorted(pieces):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif begin < end:
            found.append((begin, end))
    return found


def outer(text: str, pieces: Sequence[Piece]) -> Pieces:
    """The pieces without the blank ones at both ends, and without the white space there."""
    left = list(pieces)
    while left and skip_space(text, *left[0]) == left[0][1]:
        left.pop(0)
    while left and skip_space(text, *left[-1]) == left[-1][1]:
        left.pop()
    if left:
        left[0] = (skip_space(text, *left[0]), left[0][1])
        left[-1] = (left[-1][0], trimmed(text, *left[-1])[1])
    return tuple(left)
