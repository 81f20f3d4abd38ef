"""Text to the word pieces of a second-edition `static` artifact, in a few microseconds.

The same code runs in training and in serving. A text is lower-cased (NFKC beyond ASCII) and cut into runs: letters of
scripts that put spaces between words, letters of scripts that do not, digits, and single symbols. A run that is a piece
is that piece; any other is cut into the pieces with the greatest sum of log-probabilities (a unigram model, as in
SentencePiece: https://arxiv.org/abs/1804.10959). So the pieces of a run depend on that run alone and come from a table
the next time. The `tokenizers` library has the same model, but takes half a second to load this many pieces and more
time for a word than the rest of a decision.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from routing_service.errors import ArtifactError

WORD_START = "▁"
# A longer text is read at its start and at its end, half each: an ask stands at one of them.
MAX_CHARACTERS = 4_096
# A longer run is cut: the work for a run grows with its length.
MAX_RUN = 48
# The table of runs is emptied when it is full: its memory is limited.
RUN_TABLE_SIZE = 32_768
UNKNOWN_SCORE = -25.0

# Thai, Lao, Burmese, Khmer, kana and Chinese characters: their pieces do not say where a word starts.
UNSPACED = (
    "\u0e01-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u1780-\u17d3\u3005-\u3007\u3041-\u30fa"
    "\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)


def _ranges(characters: Iterable[int]) -> str:
    """Sorted code points as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in characters:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(lo))}-{re.escape(chr(hi))}" for lo, hi in ranges)


def _runs_pattern() -> re.Pattern[str]:
    unspaced = re.compile(f"[{UNSPACED}]").match
    # Marks belong to the letters before them: without this, a Hindi word falls apart. Letters beyond the first plane
    # are few, and scanning it all would take longer than the rest of the import.
    letters = _ranges(
        code for code in range(0x10000) if unicodedata.category(chr(code))[0] in "LM" and not unspaced(chr(code))
    )
    return re.compile(rf"[{UNSPACED}]{{1,{MAX_RUN}}}|\d+|[{letters}]{{1,{MAX_RUN}}}|[^\s]")


_RUNS = _runs_pattern()
_ASCII_RUNS = re.compile(rf"[a-z]{{1,{MAX_RUN}}}|[0-9]+|[^\sa-z0-9]")
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]")


class Vocabulary(NamedTuple):
    """The pieces of an artifact and their log-probabilities; a piece's id is its place. Id 0 is what is unknown."""

    pieces: Sequence[str]
    scores: Sequence[float]


def normalize(text: str) -> str:
    """`text` as its runs are looked up: lower case, and NFKC beyond ASCII. A lone surrogate becomes a question mark."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode()).lower()


def runs(normalized: str) -> list[str]:
    """The runs of a text from `normalize`: what is looked up, one by one."""
    return (_ASCII_RUNS if normalized.isascii() else _RUNS).findall(normalized)


class PieceTable(dict[str, tuple[int, ...]]):
    """From a run to its pieces' ids; fills itself."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._ids = {piece: number for number, piece in enumerate(vocabulary.pieces)}
        self._scores = list(vocabulary.scores)
        self._longest = max(map(len, vocabulary.pieces))

    def __missing__(self, run: str) -> tuple[int, ...]:
        ids = self._find(run)
        if len(self) >= RUN_TABLE_SIZE:
            self.clear()
        # A run of digits may have any length.
        if len(run) <= MAX_RUN:
            self[run] = ids
        return ids

    def _find(self, run: str) -> tuple[int, ...]:
        first = run[0]
        if first.isdecimal():
            return (self._ids.get(str(unicodedata.decimal(first)), 0),)
        if first.isalpha() and not _UNSPACED_RUN.match(first):
            run = WORD_START + run
        whole = self._ids.get(run)
        if whole is not None:
            return (whole,)
        return (0,) if len(run) == 1 else self._segment(run)

    def _segment(self, run: str) -> tuple[int, ...]:
        """The best segmentation of a run, by dynamic programming over its places."""
        ids, scores, longest = self._ids, self._scores, self._longest
        length = len(run)
        best = [0.0] + [float("-inf")] * length
        came_from: list[tuple[int, int]] = [(0, 0)] * (length + 1)
        for start in range(length):
            so_far = best[start]
            unknown = so_far + UNKNOWN_SCORE
            if unknown > best[start + 1]:
                best[start + 1], came_from[start + 1] = unknown, (start, 0)
            for end in range(start + 1, min(length, start + longest) + 1):
                found = ids.get(run[start:end])
                if found is not None and so_far + scores[found] > best[end]:
                    best[end], came_from[end] = so_far + scores[found], (start, found)
        found_ids: list[int] = []
        at = length
        while at:
            at, piece = came_from[at]
            # A word's mark without a piece says nothing, and unknown characters in a row are one unknown piece.
            if piece or (not (found_ids and found_ids[-1] == 0) and not (at == 0 and run[0] == WORD_START)):
                found_ids.append(piece)
        return tuple(reversed(found_ids)) or (0,)

    def ids_of(self, word: str) -> tuple[int, ...]:
        """The ids of the pieces of text without white space."""
        return tuple(chain.from_iterable(map(self.__getitem__, runs(word))))


class WordTable(dict[str, tuple[int, ...]]):
    """From text between white space to its pieces' ids; fills itself. No run goes over white space."""

    def __init__(self, pieces: PieceTable) -> None:
        super().__init__()
        self._pieces = pieces

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = self._pieces.ids_of(word)
        if len(self) >= RUN_TABLE_SIZE:
            self.clear()
        if len(word) <= MAX_RUN:  # scripts without spaces have whole sentences here
            self[word] = ids
        return ids

    def ids(self, normalized: str, limit: int) -> list[int]:
        """The ids of at most `limit` pieces of a text from `normalize`, from its start."""
        # Compatibility characters become up to 18 others: the cut is once more after it.
        words = normalized[:MAX_CHARACTERS].split()
        return list(islice(chain.from_iterable(map(self.__getitem__, words)), limit))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read an artifact's `pieces.json`: {"pieces": [...], "scores": [...]} with scores in tenths.

    Raises:
        ArtifactError: it is something else.
    """
    try:
        found = json.loads(path.read_bytes())
        vocabulary = Vocabulary(found["pieces"], [score / 10 for score in found["scores"]])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(path, f"is not a list of word pieces: {error}") from error
    if len(vocabulary.pieces) != len(vocabulary.scores) or not vocabulary.pieces:
        raise ArtifactError(path, "needs one score for each word piece")
    return vocabulary


# Beside the counts of bytes: characters read, different pieces, blank lines, option lists, fences of code, and digits
# of the longest number.
EXTRA_COUNTS = 6
_OPTIONS = re.compile(r"\n\s*\(?[bB]\s?[).:]\s?\S")
_NUMBERS = re.compile(r"\d+")
# Doubled spaces, and spaces at a line's end: what nobody sees must not change a decision.
_LOOSE_SPACES = re.compile(r"[ \t]+(?=[ \t\n])")


class EncodedText(NamedTuple):
    """One prompt as the graph's input.

    `ids` are ids of pieces; `counts` is int64 of shape (256 + EXTRA_COUNTS,): how often each byte occurs in the UTF-8
    of what was read, with single spaces, and the further counts; `truncated` says whether a part of the prompt was not
    read.
    """

    ids: list[int]
    counts: npt.NDArray[np.int64]
    truncated: bool


class StaticPieceEncoder:
    """Encodes prompts for a second-edition `static` graph.

    Args:
        vocabulary: the artifact's pieces.
        max_pieces: how many pieces of a prompt are read.
    """

    def __init__(self, vocabulary: Vocabulary, max_pieces: int) -> None:
        self._table = WordTable(PieceTable(vocabulary))
        self._limit = max_pieces

    def encode(self, text: str) -> EncodedText:
        """Encode one prompt. Any string is accepted; a lone surrogate is read as a question mark."""
        if len(text) <= MAX_CHARACTERS:
            ids = self._table.ids(normalize(text), self._limit + 1)
            truncated = len(ids) > self._limit
            del ids[self._limit :]
        else:
            half = MAX_CHARACTERS // 2
            start, end = text[:half], text[-half:]
            limit = self._limit // 2
            ids = self._table.ids(normalize(start), limit) + self._table.ids(normalize(end), MAX_CHARACTERS)[-limit:]
            text, truncated = f"{start}\n{end}", True
        text = text.strip()
        if "  " in text or " \n" in text or "\t" in text:
            text = _LOOSE_SPACES.sub("", text)
        encoded = text.encode("utf-8", "replace")
        counts = np.bincount(np.frombuffer(encoded, np.uint8), minlength=256 + EXTRA_COUNTS)
        counts[256:] = (
            len(text),
            len(set(ids)),
            text.count("\n\n"),
            1 if "\n" in text and _OPTIONS.search(text) else 0,
            text.count("```"),
            _longest_number(text, encoded),
        )
        return EncodedText(ids, counts, truncated)


# Every byte but ASCII's digits becomes a space.
_DIGITS_ONLY = bytes(byte if chr(byte) in "0123456789" else ord(" ") for byte in range(256))


def _longest_number(text: str, encoded: bytes) -> int:
    """How many digits the longest number has."""
    if len(text) == len(encoded):  # ASCII, where a table of bytes is faster than a pattern
        return max(map(len, encoded.translate(_DIGITS_ONLY).split()), default=0)
    return max(map(len, _NUMBERS.findall(text)), default=0)
