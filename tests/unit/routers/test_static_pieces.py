from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_service.errors import ArtifactError
from routing_service.routers import static_pieces
from routing_service.routers.static_pieces import (
    EXTRA_COUNTS,
    MAX_CHARACTERS,
    MAX_RUN,
    PieceTable,
    StaticPieceEncoder,
    Vocabulary,
    WordTable,
    normalize,
    read_vocabulary,
    runs,
)

PIECES = [
    "",
    "▁hello",
    "▁he",
    "llo",
    "▁wor",
    "ld",
    "▁",
    "a",
    "ab",
    "b",
    "1",
    "7",
    "?",
    "中文",
    "中",
    "文",
    "▁नमस्ते",
    "ก",
]
SCORES = [0.0, -8, -7, -7, -7, -7, -3, -4, -5, -4, -6, -6, -4, -9, -8, -8, -9, -8]
VOCABULARY = Vocabulary(PIECES, SCORES)


@pytest.fixture
def encoder() -> StaticPieceEncoder:
    return StaticPieceEncoder(VOCABULARY, 512)


def pieces(text: str, vocabulary: Vocabulary = VOCABULARY) -> list[str]:
    return [vocabulary.pieces[i] for i in WordTable(PieceTable(vocabulary)).ids(normalize(text), 512)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello WORLD", ["▁hello", "▁wor", "ld"]),
        # A run that is a piece is that piece, also where two pieces are likelier.
        ("hello", ["▁hello"]),
        # Numbers are one piece, by their first digit, in any script.
        ("17 1,777 ١٢", ["1", "1", "", "7", "1"]),
        ("中文中", ["中文", "中"]),
        # Scripts without spaces end a run of others, and a mark belongs to its letter.
        ("ab中a?", ["▁", "ab", "中", "▁", "a", "?"]),
        ("नमस्ते", ["▁नमस्ते"]),
        # Full-width letters are those letters.
        ("\uff48\uff45llo", ["▁hello"]),
        # Unknown characters in a row are one unknown piece.
        ("azzza", ["▁", "a", "", "a"]),
        ("😀", [""]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_pieces_by_hand(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@given(st.text(max_size=60))
def test_any_string_is_encoded_and_a_run_s_pieces_depend_on_it_alone(text: str) -> None:
    encoder = StaticPieceEncoder(VOCABULARY, 512)
    encoded = encoder.encode(text)
    table = PieceTable(VOCABULARY)
    alone = [i for run in runs(normalize(text)) for i in table[run]]
    assert encoded.ids == alone[:512] == StaticPieceEncoder(VOCABULARY, 512).encode(text).ids
    assert encoded.counts.shape == (256 + EXTRA_COUNTS,)
    assert encoded.counts[:256].sum() <= len(text.encode("utf-8", "replace"))
    assert all(len(run) <= MAX_RUN or run[0].isdecimal() for run in runs(normalize(text)))


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_ascii_is_cut_into_runs_as_any_text(text: str) -> None:
    assert runs(normalize(text)) == static_pieces._RUNS.findall(normalize(text))


@pytest.mark.parametrize("text", ["a  b", " a b", "a b \n", "\ta \t b", "a b  "])
def test_spaces_that_nobody_sees_change_nothing(encoder: StaticPieceEncoder, text: str) -> None:
    seen, plain = encoder.encode(text), encoder.encode("a b")
    assert seen.ids == plain.ids
    if "\t" not in text:
        assert seen.counts.tolist() == plain.counts.tolist()
    assert encoder.encode("a \n  b").counts.tolist() == encoder.encode("a\n b").counts.tolist()
    assert encoder.encode("a\n\nb").counts.tolist() != encoder.encode("a\nb").counts.tolist()


def test_a_lone_surrogate_is_read_as_a_question_mark(encoder: StaticPieceEncoder) -> None:
    assert encoder.encode("a\ud800a").ids == encoder.encode("a?a").ids


def test_the_end_of_a_long_text_is_read(encoder: StaticPieceEncoder) -> None:
    filler = "b " * MAX_CHARACTERS
    bare, asked = encoder.encode(filler), encoder.encode(f"{filler} hello?")
    assert bare.truncated
    assert asked.truncated
    assert len(asked.ids) == 512
    assert asked.ids[-2:] == [PIECES.index("▁hello"), PIECES.index("?")]


def test_a_text_of_more_pieces_than_are_read_is_truncated() -> None:
    encoder = StaticPieceEncoder(VOCABULARY, 4)
    assert not encoder.encode("? ? ? ?").truncated
    cut = encoder.encode("? ? ? ? ?")
    assert cut.truncated
    assert len(cut.ids) == 4


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "中" * 1_000_000, "7" * 1_000_000, "\u0301" * 1_000_000, "\ufdfa" * 1_000_000]
)
def test_a_megabyte_of_one_character_costs_no_more_than_a_page(encoder: StaticPieceEncoder, text: str) -> None:
    encoder.encode(text[:MAX_CHARACTERS])
    start = time.process_time()
    encoder.encode(text)
    # A hundred times what it takes: this only tells linear work on the cut text from work on the whole.
    assert time.process_time() - start < 1


def test_further_counts_by_hand(encoder: StaticPieceEncoder) -> None:
    text = "hello 123\n\nA. x\nB. y\n```a```"
    length, different, blank, options, fences, longest = encoder.encode(text).counts[256:].tolist()
    assert (length, blank, options, fences, longest) == (len(text), 1, 1, 2, 3)
    assert different == len(set(encoder.encode(text).ids))


@given(st.text(st.sampled_from("12a \u0663.\u00e9"), max_size=20))
def test_the_longest_number_is_counted_in_ascii_as_in_any_text(text: str) -> None:
    encoder = StaticPieceEncoder(VOCABULARY, 512)
    assert encoder.encode(text).counts[-1] == max(map(len, re.findall(r"\d+", text)), default=0)


def test_a_full_table_of_runs_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "hello world ab ba 中文 17 " * 3
    expected = pieces(text)
    monkeypatch.setattr(static_pieces, "RUN_TABLE_SIZE", 2)
    assert pieces(text) == expected


def test_what_the_caller_does_to_an_answer_does_not_change_the_next(encoder: StaticPieceEncoder) -> None:
    first = encoder.encode("hello world")
    kept = list(first.ids)
    first.ids.append(3)
    first.counts[:] = 0
    assert encoder.encode("hello world").ids == kept
    assert encoder.encode("hello world").counts.sum() > 0


def test_a_vocabulary_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pieces.json"
    path.write_text(json.dumps({"pieces": ["", "a"], "scores": [0, -42]}))
    found = read_vocabulary(path)
    assert list(found.pieces) == ["", "a"]
    np.testing.assert_allclose(found.scores, [0, -4.2])


@pytest.mark.parametrize(
    "content", ["nonsense", "[]", "{}", '{"pieces": ["a"], "scores": []}', '{"pieces": [], "scores": []}']
)
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pieces.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=r"pieces\.json"):
        read_vocabulary(path)
