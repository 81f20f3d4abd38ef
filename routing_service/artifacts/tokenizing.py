"""Text to token ids, like a Hugging Face tokenizer with truncation, but without reading all of a long text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from routing_service.artifacts.reading import MAX_JSON_BYTES, read_file, read_json
from routing_service.errors import ArtifactError

# One text is tokenized at a time, so the library needs no threads of its own.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")
# Tokenizers number their tokens with 32 bits.
MAX_TOKEN_ID = 2**32 - 1
# How much of a long text is tokenized at first. If that does not give this many tokens more than are kept (because
# tokens are very long), twice as much is tried. The tokens near the cut, which it may change, are never kept. Beyond
# the larger number it is not language but gives no tokens (e.g. a megabyte of zeros), and is not read.
CHARACTERS_PER_TOKEN = 8
MAX_CHARACTERS_PER_TOKEN = 64
SPARE_TOKENS = 64
# A batch is run in parts of rows with similar lengths: none is padded to more than this multiple of its length
# (or by more than a few tokens), and a part has at most this many tokens.
MAX_PADDING_RATIO = 1.25
FREE_PADDING = 8
MAX_BUCKET_TOKENS = 8192


class Tokens(NamedTuple):
    """One text's token ids, with special tokens, and whether the text was cut."""

    ids: list[int]
    truncated: bool


class TruncatingTokenizer:
    """A `tokenizer.json` that keeps at most `max_tokens` tokens, with special ones, like `truncation=True`.

    Args:
        path: the file.
        max_tokens: at least 1 beyond the special tokens.
        side: which end of a long text is cut off.

    Raises:
        ArtifactError: the file is not a tokenizer, or adds more special tokens than `max_tokens` allows.
    """

    def __init__(self, path: Path, max_tokens: int, side: Side) -> None:
        self._tokenizer = load_tokenizer(path)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.max_tokens, self.side = max_tokens, side
        self._kept = max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if self._kept < 1:
            raise ArtifactError(path, f"adds so many special tokens that {max_tokens} tokens leave none for the text")

    def encode(self, text: str) -> Tokens:
        """Encode a text. Any string is accepted; a lone surrogate is read as a question mark."""
        longest = MAX_CHARACTERS_PER_TOKEN * (self.max_tokens + SPARE_TOKENS)
        truncated = len(text) > longest
        text = self._part(text, longest).encode("utf-8", "replace").decode()
        window = CHARACTERS_PER_TOKEN * (self.max_tokens + SPARE_TOKENS)
        while True:
            # Unlike `encode`, this lets other threads run; a text without spaces may take 0.1 s.
            (encoding,) = self._tokenizer.encode_batch([self._part(text, window)], add_special_tokens=False)
            if len(text) <= window or len(encoding) >= self._kept + SPARE_TOKENS:
                break
            window *= 2
        if len(encoding) > self._kept:
            truncated = True
            encoding.truncate(self._kept, direction=self.side)
        return Tokens(self._tokenizer.post_process(encoding).ids, truncated)

    def _part(self, text: str, characters: int) -> str:
        """The first or last characters of a text, from the end that is kept."""
        if len(text) <= characters:
            return text
        return text[:characters] if self.side == "right" else text[-characters:]


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        ArtifactError: it cannot be read, is too large, not strict JSON, or not a tokenizer.
    """
    try:
        raw = read_file(path, MAX_JSON_BYTES)
        read_json(raw)
        return Tokenizer.from_buffer(raw)
    except (ArtifactError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what Rust code panics with is no Exception
        raise ArtifactError(path, f"is not a tokenizer.json: {error}; restore the artifact") from error


def length_buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Split a batch into parts to run together; gives the indices of each part, longest rows first."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    part: list[int] = []
    for index in order:
        longest = lengths[part[0]] if part else 0
        allowed = max(MAX_PADDING_RATIO * lengths[index], lengths[index] + FREE_PADDING)
        if part and (longest > allowed or longest * (len(part) + 1) > MAX_BUCKET_TOKENS):
            yield part
            part = []
        part.append(index)
    if part:
        yield part


def padded(
    rows: Sequence[Sequence[int]], pad_id: int, side: Side
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows as one array, padded on `side`, and its mask: 1 for a token, 0 for padding. Both are (rows, longest)."""
    longest = max(len(row) for row in rows)
    ids, mask = np.full((len(rows), longest), pad_id, np.int64), np.zeros((len(rows), longest), np.int64)
    for row, (values, kept) in zip(rows, zip(ids, mask, strict=True), strict=True):
        place = slice(longest - len(row), None) if side == "left" else slice(None, len(row))
        values[place], kept[place] = row, 1
    return ids, mask
