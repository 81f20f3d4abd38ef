"""Text to the numbers that a `static` artifact's graph reads: token ids and byte counts, in a few microseconds.

The same code runs in training and in serving. Its ids are exactly those of the artifact's `tokenizer.json` (a BERT
word-piece tokenizer: https://huggingface.co/docs/tokenizers/pipeline); a property test checks this. It is faster
because word-piece tokenization depends only on each word (between white space or punctuation), so the ids of a
known word come from a table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from routing_service.artifacts.tokenizing import load_tokenizer
from routing_service.errors import ArtifactError

# A prompt is first cut to this many characters for each token that is read: a megabyte costs no more than a page.
# English has about 4.5 characters for each token, so this cut seldom matters.
CHARACTERS_PER_TOKEN = 8
# The table of words is emptied when it is full: its memory is limited.
WORD_TABLE_SIZE = 32_768
MAX_TABLED_WORD_LENGTH = 48
# How many new words of a prompt are tokenized one by one, about 15 µs each. A prompt with more is tokenized as a whole,
# in a millisecond or two: this runs on the event loop.
MAX_NEW_WORDS = 64

# Pieces that BERT's normalizer and pre-tokenizer treat independently of their neighbours: one Chinese character, a run
# of letters, digits, control characters and all else beyond ASCII (which the tokenizer may split further), or one ASCII
# punctuation mark.
_PIECES = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff]"
    r"|[A-Za-z0-9\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\u33ff\u4dc0-\u4dff\ua000-\U0010ffff]+"
    r"|[^A-Za-z0-9 \t\n\r]"
).findall


class EncodedText(NamedTuple):
    """One prompt as the graph's input.

    `ids` are token ids, at most `max_tokens`; `byte_counts` is int64 of shape (256,), how often each byte occurs in the
    (cut) prompt's UTF-8; `truncated` says whether a part of the prompt was not read.
    """

    ids: list[int]
    byte_counts: npt.NDArray[np.int64]
    truncated: bool


class _TooManyNewWordsError(Exception):
    """A prompt has so many new words that it is faster to tokenize as a whole."""


class _WordTable(dict[str, tuple[int, ...]]):
    """Word to token ids, filled with each new word; `allowed` is how many new words the prompt may still have."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self.allowed = 0

    def __missing__(self, word: str) -> tuple[int, ...]:
        self.allowed -= 1
        if self.allowed < 0:
            raise _TooManyNewWordsError
        ids = tuple(self._tokenizer.encode(word, add_special_tokens=False).ids)
        if len(word) <= MAX_TABLED_WORD_LENGTH:
            if len(self) >= WORD_TABLE_SIZE:
                self.clear()
            self[word] = ids
        return ids


class StaticTextEncoder:
    """Encodes prompts for a `static` graph.

    Args:
        tokenizer: path of a `tokenizer.json` that holds a lower-casing BERT word-piece tokenizer.
        max_tokens: how many tokens of a prompt are read, from its start.

    Raises:
        ArtifactError: the file is not a tokenizer, or one of another kind.
    """

    def __init__(self, tokenizer: Path, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._max_characters = CHARACTERS_PER_TOKEN * max_tokens
        self._tokenizer = _load_wordpiece(tokenizer)
        self._words = _WordTable(self._tokenizer)

    def encode(self, text: str) -> EncodedText:
        """Encode one prompt. Any string is accepted; a lone surrogate is read as a question mark."""
        truncated = len(text) > self._max_characters
        if truncated:
            text = text[: self._max_characters]
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raw = text.encode("utf-8", "replace")
            text = raw.decode()
        # Lower-casing here only saves table entries. Beyond ASCII the tokenizer does it, with its own rules.
        pieces = _PIECES(text.lower() if text.isascii() else text)
        self._words.allowed = MAX_NEW_WORDS
        try:
            tokens = chain.from_iterable(map(self._words.__getitem__, pieces))
            ids = list(islice(tokens, self.max_tokens + 1))
        except _TooManyNewWordsError:
            ids = self._whole(text)
        if len(ids) > self.max_tokens:
            truncated = True
            del ids[self.max_tokens :]
        return EncodedText(ids, np.bincount(np.frombuffer(raw, np.uint8), minlength=256), truncated)

    def _whole(self, text: str) -> list[int]:
        """The ids of a text by the tokenizer itself; first of its start only, which may already have enough."""
        start: list[int] = self._tokenizer.encode(text[: len(text) // 4], add_special_tokens=False).ids
        # The cut can change the tokens of one word only, and a longer word is a single token.
        if len(start) > self.max_tokens + self._tokenizer.model.max_input_chars_per_word:
            return start[: self.max_tokens + 1]
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode prompts, in order."""
        return [self.encode(text) for text in texts]


def pad_ids(encoded: Sequence[EncodedText], pad_id: int) -> npt.NDArray[np.int32]:
    """The ids of a batch as int32 of shape (prompts, longest prompt, at least 1), padded on the right with `pad_id`."""
    ids = np.full((len(encoded), max(1, *(len(e.ids) for e in encoded))), pad_id, np.int32)
    for row, e in zip(ids, encoded, strict=True):
        row[: len(e.ids)] = e.ids
    return ids


def _load_wordpiece(path: Path) -> Tokenizer:
    tokenizer = load_tokenizer(path)
    kinds = [type(part).__name__ for part in (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)]
    if kinds != ["BertNormalizer", "BertPreTokenizer", "WordPiece"]:
        raise ArtifactError(path, f"is a {'/'.join(kinds)} tokenizer; a static router needs a BERT word-piece one")
    if not tokenizer.normalizer.lowercase:
        raise ArtifactError(path, "distinguishes upper and lower case; a static router needs a lower-casing tokenizer")
    # They are found anywhere, also across words.
    if added := [token.content for token in tokenizer.get_added_tokens_decoder().values() if not token.special]:
        raise ArtifactError(path, f"has the added token {added[0]!r}; a static router needs a tokenizer without any")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # A prompt that spells "[PAD]" or "[CLS]" means those characters, not the special token.
    tokenizer.encode_special_tokens = True
    return tokenizer
