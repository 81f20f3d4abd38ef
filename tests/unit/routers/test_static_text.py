from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from routing_service.errors import ArtifactError
from routing_service.routers import static_text
from routing_service.routers.static_text import CHARACTERS_PER_TOKEN, EncodedText, StaticTextEncoder, pad_ids

# What a tokenizer treats specially, mixed: case, accents, joiners, CJK, white space of every kind, control characters,
# final sigma, dotted I, ligatures, title case, words at and beyond the longest that is split.
CHARACTERS = (
    "aB9Σ\u03c3ςİI\u0131ßéÉ\u0301 \t\n\r\x0b\x0c\x01\x1c\x7f\x85\xa0\u3000中文,.!'-_[]#PAD\u017f"
    "😀\ufffd\u200b\u200d\u2028ﬁǅ\x00"
)
FRAGMENTS = ["[PAD]", "[CLS]", "[UNK]", "hello", "WORLD", "naïve", "x" * 100, "x" * 101, "##ing", " ", "'s", "“q”", "Σ"]
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=st.sampled_from(CHARACTERS)),
    st.lists(st.sampled_from(FRAGMENTS)).map("".join),
)


@pytest.fixture(scope="module")
def tokenizer_path(build_tokenizer: Callable[..., Tokenizer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    build_tokenizer().save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> Tokenizer:
    """The reference: the file as the `tokenizers` library reads it, where "[CLS]" is text like any other."""
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.fixture(scope="module")
def encoder(tokenizer_path: Path) -> StaticTextEncoder:
    return StaticTextEncoder(tokenizer_path, 1000)


@given(text=TEXTS)
@example(text="[CLS][PAD] [MASK]")
@example(text="ΌΣΟΣ ΌΣ. İstanbul")
@example(text="a\u0301 ,\u0301 \u0301a =\u0338")
@example(text="x" * 101 + " " + "é" * 101)
@example(text="中文hello中")
@example(text="a\x00b\x01c\ufffdd\x7fe\u200bf\x85g\u2028h")
@settings(max_examples=500)
def test_ids_are_those_of_the_tokenizer(encoder: StaticTextEncoder, tokenizer: Tokenizer, text: str) -> None:
    assert encoder.encode(text).ids == tokenizer.encode(text, add_special_tokens=False).ids


@given(text=TEXTS, max_tokens=st.integers(1, 12))
@settings(max_examples=200)
def test_a_long_text_is_read_from_its_start(
    tokenizer_path: Path, tokenizer: Tokenizer, text: str, max_tokens: int
) -> None:
    read = text[: CHARACTERS_PER_TOKEN * max_tokens]
    all_ids = tokenizer.encode(read, add_special_tokens=False).ids
    encoded = StaticTextEncoder(tokenizer_path, max_tokens).encode(text)
    assert encoded.ids == all_ids[:max_tokens]
    assert encoded.truncated == (read != text or len(all_ids) > max_tokens)
    assert encoded.byte_counts.sum() == len(read.encode())


@given(text=TEXTS, new_words=st.integers(0, 3), max_tokens=st.integers(1, 200))
@example(text="".join(map(chr, range(0x4E00, 0x5200))), new_words=0, max_tokens=20)
@example(text="x" * 99 + " " + "yz" * 150, new_words=0, max_tokens=1)
def test_a_text_of_many_new_words_has_the_same_ids(
    tokenizer_path: Path, tokenizer: Tokenizer, text: str, new_words: int, max_tokens: int
) -> None:
    encoder = StaticTextEncoder(tokenizer_path, max_tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_text, "MAX_NEW_WORDS", new_words)
        encoded = encoder.encode(text)
    all_ids = tokenizer.encode(text[: CHARACTERS_PER_TOKEN * max_tokens], add_special_tokens=False).ids
    assert encoded.ids == all_ids[:max_tokens]
    assert encoded.truncated == (len(text) > CHARACTERS_PER_TOKEN * max_tokens or len(all_ids) > max_tokens)


def test_however_many_words_are_new_few_are_tokenized_alone(tokenizer_path: Path) -> None:
    encoder = StaticTextEncoder(tokenizer_path, 1000)
    encoder.encode(" ".join(f"w{number}" for number in range(1000)))
    assert len(encoder._words) == static_text.MAX_NEW_WORDS


@given(text=TEXTS)
def test_bytes_are_counted(encoder: StaticTextEncoder, text: str) -> None:
    counts = encoder.encode(text).byte_counts
    assert counts.dtype == np.int64
    assert counts.shape == (256,)
    raw = text.encode()
    assert {byte: int(counts[byte]) for byte in range(256) if counts[byte]} == {b: raw.count(b) for b in set(raw)}


@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
@example(text="a\ud800b")
def test_any_string_is_encoded_a_lone_surrogate_as_a_question_mark(encoder: StaticTextEncoder, text: str) -> None:
    cleaned = "".join("?" if "\ud800" <= c <= "\udfff" else c for c in text)
    got, expected = encoder.encode(text), encoder.encode(cleaned)
    assert (got.ids, got.truncated) == (expected.ids, expected.truncated)
    assert (got.byte_counts == expected.byte_counts).all()


def test_the_cut_is_at_exactly_eight_characters_a_token(tokenizer_path: Path) -> None:
    encoder = StaticTextEncoder(tokenizer_path, 4)
    assert not encoder.encode(" " * 32).truncated
    assert encoder.encode(" " * 33).truncated
    assert not encoder.encode("a b c d").truncated
    assert encoder.encode("a b c d e").truncated


@given(texts=st.lists(TEXTS, max_size=20))
def test_a_full_word_table_changes_nothing(tokenizer_path: Path, encoder: StaticTextEncoder, texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_text, "WORD_TABLE_SIZE", 3)
        small = StaticTextEncoder(tokenizer_path, 1000)
        for text in texts:
            assert small.encode(text).ids == encoder.encode(text).ids
            assert len(small._words) <= 3


def test_long_words_are_not_kept(tokenizer_path: Path) -> None:
    encoder = StaticTextEncoder(tokenizer_path, 1000)
    encoder.encode("x" * 48 + " " + "y" * 49)
    assert list(encoder._words) == ["x" * 48]


def test_what_the_caller_does_to_an_answer_does_not_change_the_next(encoder: StaticTextEncoder) -> None:
    first = encoder.encode("hello world")
    expected = list(first.ids)
    first.ids.clear()
    assert encoder.encode("hello world").ids == expected


def test_a_batch_is_encoded_in_order(encoder: StaticTextEncoder) -> None:
    texts = ["hello", "", "world"]
    assert [e.ids for e in encoder.encode_batch(texts)] == [encoder.encode(text).ids for text in texts]


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=6), min_size=1, max_size=6))
def test_ids_are_padded_on_the_right(rows: list[list[int]]) -> None:
    ids = pad_ids([EncodedText(row, np.zeros(256, np.int64), False) for row in rows], -1)
    width = max(1, *(len(row) for row in rows))
    assert ids.dtype == np.int32
    assert ids.shape == (len(rows), width)
    assert ids.tolist() == [row + [-1] * (width - len(row)) for row in rows]


# --- what is no such tokenizer ------------------------------------------------------------------------------


def refusal(path: Path, tokenizer: Tokenizer | None = None) -> str:
    if tokenizer is not None:
        tokenizer.save(str(path))
    with pytest.raises(ArtifactError) as caught:
        StaticTextEncoder(path, 10)
    assert caught.value.path == path
    return str(caught.value)


@pytest.mark.parametrize("content", [None, "", "{}", "no json"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    assert "is not a tokenizer.json" in refusal(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("normalizer", normalizers.Lowercase()),
        ("pre_tokenizer", pre_tokenizers.Whitespace()),
        ("model", models.WordLevel({"[UNK]": 0}, "[UNK]")),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(
    tmp_path: Path, build_tokenizer: Callable[..., Tokenizer], attribute: str, value: Any
) -> None:
    tokenizer = build_tokenizer()
    setattr(tokenizer, attribute, value)
    assert "a static router needs a BERT word-piece one" in refusal(tmp_path / "tokenizer.json", tokenizer)


def test_a_tokenizer_that_keeps_case_is_refused(tmp_path: Path, build_tokenizer: Callable[..., Tokenizer]) -> None:
    refusal(tmp_path / "tokenizer.json", build_tokenizer(lowercase=False))


def test_a_tokenizer_with_added_words_is_refused(tmp_path: Path, build_tokenizer: Callable[..., Tokenizer]) -> None:
    """They are found across the borders of words, which encoding word by word cannot do."""
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken("hello world", normalized=False)])
    refusal(tmp_path / "tokenizer.json", tokenizer)


def test_truncation_and_padding_of_the_file_are_ignored(
    tmp_path: Path, build_tokenizer: Callable[..., Tokenizer], encoder: StaticTextEncoder
) -> None:
    tokenizer = build_tokenizer()
    tokenizer.enable_truncation(1)
    tokenizer.enable_padding(length=7)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = "hello unheardof worlds"
    assert StaticTextEncoder(tmp_path / "tokenizer.json", 1000).encode(text).ids == encoder.encode(text).ids
