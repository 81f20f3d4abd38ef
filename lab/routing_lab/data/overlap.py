"""Finds prompts that ask what another set of prompts asks: equal but for layout, wrapped in a template, or reworded.

Texts are compared as words (runs of letters and digits; single characters where a script has no spaces), in lower case.
Two prompts overlap when their words, or those of their questions without options, are equal, or when one holds most of
the other's three-word sequences. Sequences that many prompts share are templates and say nothing.

All of it is set operations on arrays of 64-bit integers, so that tens of thousands of prompts take seconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from routing_lab.data.questions import question_stem

# A sequence that more distinct known prompts than this hold, and a twentieth of them, is a template's.
TEMPLATE_PROMPTS = 20
MIN_TEMPLATE_PROMPTS = 2
# A prompt is another's near-duplicate when it holds this share of the other's sequences, and at least so many of them:
# a known question inside a longer text may be reworded; a short text inside a known question hardly.
KNOWN_SHARE, ASKED_SHARE, NEAR_LEAST = 0.7, 0.9, 6
# How many prompts are compared at a time: it bounds memory.
BLOCK = 4096
NO_MATCH = -1

# Three ids of a word fit a 64-bit integer exactly.
_WORD_BITS = 21
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+").findall

Int64 = npt.NDArray[np.int64]


def words(text: str) -> list[str]:
    """The words of a text, in lower case and compatibility form (full-width letters are letters)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return list(_WORDS(text.lower()))


class OverlapIndex:
    """The prompts that others must not repeat.

    Args:
        known: those prompts.
    """

    def __init__(self, known: Sequence[str]) -> None:
        self._exact: dict[str, int] = {}
        self._ids: dict[str, int] = {}
        rows = []
        for number, prompt in enumerate(known):
            text, stem = words(prompt), words(question_stem(prompt))
            again = " ".join(text) in self._exact
            for form in (text, stem):
                if form:
                    self._exact.setdefault(" ".join(form), number)
            # What is there twice is no template for that.
            rows.append([] if again else [self._ids.setdefault(word, len(self._ids) + 1) for word in stem])
        sequences, owners = _sequences(rows)
        order = np.lexsort((owners, sequences))
        sequences, owners = sequences[order], owners[order]
        first = np.ones(len(sequences), bool)
        first[1:] = (sequences[1:] != sequences[:-1]) | (owners[1:] != owners[:-1])
        sequences, self._owners = sequences[first], owners[first]
        values, starts, counts = np.unique(sequences, return_index=True, return_counts=True)
        distinct = sum(map(bool, rows))
        telling = counts <= max(MIN_TEMPLATE_PROMPTS, min(TEMPLATE_PROMPTS, distinct // 20))
        self._values, self._starts, self._counts = values[telling], starts[telling], counts[telling]
        self._sizes = np.bincount(self._owners[np.repeat(telling, counts)], minlength=len(known))

    def matches(self, prompts: Iterable[str]) -> Int64:
        """For each prompt, the number of a known prompt that it overlaps, or `NO_MATCH`; of shape (prompts,)."""
        texts = list(prompts)
        parts = [self._match(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _match(self, texts: Sequence[str]) -> Int64:
        found = np.full(len(texts), NO_MATCH, np.int64)
        rows = []
        for row, text in enumerate(texts):
            form = words(text)
            rows.append([self._ids.get(word, 0) for word in form])
            number = self._exact.get(" ".join(form))
            if number is None:
                number = self._exact.get(" ".join(words(question_stem(text))), NO_MATCH)
            found[row] = number
        if not len(self._values):
            return found
        near = self._near(rows)
        return np.where(found == NO_MATCH, near, found)

    def _near(self, rows: Sequence[Sequence[int]]) -> Int64:
        """The number of a known prompt of which each row of word ids is a near-duplicate, or `NO_MATCH`."""
        sequences, asking = _sequences(rows)
        places = np.minimum(np.searchsorted(self._values, sequences), len(self._values) - 1)
        hit = self._values[places] == sequences
        # A sequence counts once, however often a text has it.
        hits = np.unique(asking[hit] * len(self._values) + places[hit])
        asking, places = np.divmod(hits, len(self._values))
        # Every known prompt that holds a sequence, beside the text that holds it too.
        counts = self._counts[places]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        known = self._owners[np.repeat(self._starts[places], counts) + within]
        pairs, shared = np.unique(np.repeat(asking, counts) * len(self._sizes) + known, return_counts=True)
        asking, known = np.divmod(pairs, len(self._sizes))
        asked = np.array([max(len(row) - 2, 0) for row in rows])
        needed = np.minimum(KNOWN_SHARE * self._sizes[known], ASKED_SHARE * asked[asking])
        near = shared >= np.maximum(needed, NEAR_LEAST)
        found = np.full(len(rows), NO_MATCH, np.int64)
        found[asking[near]] = known[near]
        return found


def _sequences(rows: Sequence[Sequence[int]]) -> tuple[Int64, Int64]:
    """The three-word sequences of rows of word ids, and the number of the row of each; none with an unknown word, 0."""
    lengths = np.array([len(row) for row in rows], np.int64)
    # Two zeros after each row, so that no sequence spans two of them.
    ids = np.array([word for row in rows for word in (*row, 0, 0)], np.int64) & (1 << _WORD_BITS) - 1
    owners = np.repeat(np.arange(len(rows)), lengths + 2)
    first, second, third = ids[:-2], ids[1:-1], ids[2:]
    whole = (first > 0) & (second > 0) & (third > 0)
    packed = first << 2 * _WORD_BITS | second << _WORD_BITS | third
    return packed[whole], owners[:-2][whole]
