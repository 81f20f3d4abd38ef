"""Truncated token ids, and batches in parts of like length."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from routing_service.artifacts import tokenizing
from routing_service.artifacts.tokenizing import (
    SIDES,
    Side,
    TruncatingTokenizer,
    length_buckets,
    load_tokenizer,
    padded,
)
from routing_service.errors import ArtifactError

SPECIALS = ["<s>", "</s>", "<unk>"]
MAX_TOKENS = 12


def reference() -> Tokenizer:
    """Characters and a few longer pieces, with a special token at each end."""
    pieces = [*SPECIALS, *"abcdefgh ", "ab", "abc", "de", "dede", "gh"]
    merges = [("a", "b"), ("ab", "c"), ("d", "e"), ("de", "de"), ("g", "h")]
    model = models.BPE({piece: index for index, piece in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=False)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    reference().save(str(file))
    return file


texts = st.one_of(
    st.text("abcdegh é", max_size=60), st.text(max_size=30), st.text("abde ", min_size=900, max_size=1500)
)


@pytest.mark.parametrize("side", SIDES)
@given(text=texts)
def test_ids_are_those_of_the_tokenizer_with_truncation(path: Path, side: Side, text: str) -> None:
    wanted = reference()
    whole = len(wanted.encode(text.encode("utf-8", "replace").decode()).ids)
    wanted.enable_truncation(MAX_TOKENS, direction=side)
    tokens = TruncatingTokenizer(path, MAX_TOKENS, side).encode(text)
    assert tokens.ids == wanted.encode(text.encode("utf-8", "replace").decode()).ids
    assert tokens.truncated == (whole > MAX_TOKENS)


@pytest.mark.parametrize("side", SIDES)
def test_what_gives_no_tokens_is_not_read_for_ever(path: Path, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of characters that a tokenizer drops: beyond some multiple of what is kept it is cut unread."""
    lengths: list[int] = []
    tested = TruncatingTokenizer(path, MAX_TOKENS, side)
    tested._tokenizer.normalizer = normalizers.Replace("\0", "")
    encode = tested._tokenizer.encode

    class Counting:
        def encode_batch(self, texts: list[str], **options: Any) -> Any:
            lengths.extend(map(len, texts))
            return [encode(text, **options) for text in texts]

        def post_process(self, encoding: Any) -> Any:
            return Tokenizer.from_file(str(path)).post_process(encoding)

    monkeypatch.setattr(tested, "_tokenizer", Counting())
    zeros = "\0" * 1_000_000
    tokens = tested.encode(f"abc{zeros}gh")
    assert tokens.truncated
    assert tokens.ids == reference().encode("abc" if side == "right" else "gh").ids
    longest = tokenizing.MAX_CHARACTERS_PER_TOKEN * (MAX_TOKENS + tokenizing.SPARE_TOKENS)
    assert sum(lengths) <= 2 * longest


@pytest.mark.parametrize("side", SIDES)
def test_text_of_very_long_tokens_is_read_further(path: Path, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "CHARACTERS_PER_TOKEN", 1)
    text = "dede" * 400
    wanted = reference()
    wanted.enable_truncation(MAX_TOKENS, direction=side)
    assert TruncatingTokenizer(path, MAX_TOKENS, side).encode(text).ids == wanted.encode(text).ids


def test_a_tokenizer_that_truncates_by_itself_is_set_right(path: Path, tmp_path: Path) -> None:
    odd = reference()
    odd.enable_truncation(3)
    odd.enable_padding(length=50)
    odd.save(str(tmp_path / "odd.json"))
    assert TruncatingTokenizer(tmp_path / "odd.json", MAX_TOKENS, "right").encode("a b c").ids == (
        TruncatingTokenizer(path, MAX_TOKENS, "right").encode("a b c").ids
    )


def test_what_is_no_tokenizer_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"broken.json is not a tokenizer.json"):
        TruncatingTokenizer(tmp_path / "broken.json", 10, "right")
    with pytest.raises(ArtifactError, match="leave none for the text"):
        TruncatingTokenizer(path, 2, "right")


@given(st.lists(st.integers(1, 9000), max_size=200))
def test_parts_hold_every_row_once_and_little_padding(lengths: list[int]) -> None:
    parts = list(length_buckets(lengths))
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    for part in parts:
        longest = max(lengths[index] for index in part)
        assert len(part) == 1 or longest * len(part) <= tokenizing.MAX_BUCKET_TOKENS
        for index in part:
            assert longest <= max(1.25 * lengths[index], lengths[index] + tokenizing.FREE_PADDING)


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ([2, 10], [[1, 0]]),  # a few tokens of padding are free
        ([2, 11], [[1], [0]]),
        ([100, 80], [[0, 1]]),  # a quarter of the length, too
        ([101, 80], [[0], [1]]),
        ([4096, 4096], [[0, 1]]),  # 8192 tokens in all
        ([4097, 4096], [[0], [1]]),
        ([9000], [[0]]),
        ([], []),
    ],
)
def test_rows_are_parted_where_padding_or_tokens_become_too_many(lengths: list[int], parts: list[list[int]]) -> None:
    assert list(length_buckets(lengths)) == parts


def test_rows_are_padded_on_their_side() -> None:
    ids, mask = padded([[5, 6, 7], [8]], 1, "right")
    np.testing.assert_array_equal(ids, [[5, 6, 7], [8, 1, 1]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]])
    ids, mask = padded([[5, 6, 7], [8]], 0, "left")
    np.testing.assert_array_equal(ids, [[5, 6, 7], [0, 0, 8]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [0, 0, 1]])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"version": "1.0", "version": "1.0"}', "the key 'version' is there twice"),
        (b'{"a":' * 1000, "nested more than 64 deep"),
        (b"\xff{}", "is not a tokenizer.json"),
        (b"{}", "is not a tokenizer.json"),
        (b"", "is not a tokenizer.json"),
    ],
)
def test_json_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=says):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_panic_of_the_tokenizer_s_code_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """As Rust's is: no Exception."""

    class Panicking:
        @staticmethod
        def from_buffer(_: bytes) -> None:
            raise PanicException("index out of range")

    monkeypatch.setattr("routing_service.artifacts.tokenizing.Tokenizer", Panicking)
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ArtifactError, match=r"is not a tokenizer\.json: index out of range"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_others_run_while_a_long_text_is_tokenized(build_tokenizer: Callable[..., Tokenizer], tmp_path: Path) -> None:
    build_tokenizer().save(str(tmp_path / "tokenizer.json"))
    tokenizer = TruncatingTokenizer(tmp_path / "tokenizer.json", 4096, "right")
    with ThreadPoolExecutor(1) as pool:
        encoding = pool.submit(tokenizer.encode, "😀" * 400_000)
        turns = 0
        while not encoding.done():
            time.sleep(0)
            turns += 1
    assert encoding.result().truncated
    assert turns > 1000, "the interpreter is held"
