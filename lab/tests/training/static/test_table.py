"""How a table is made: the encoder's file, the choice of pieces, translations, projection; all on made-up data."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from routing_lab.training.static import wheels
from routing_lab.training.static.e5 import E5, read_e5
from routing_lab.training.static.seeds import own_seeds
from routing_lab.training.static.table import build_table, piece_weights
from routing_lab.training.static.topics import TOPIC_LOG_ODDS, TOPICS, topic_of
from routing_lab.training.static.translations import read_catalogues
from routing_lab.training.static.trivial import trivial_asks
from routing_lab.training.static.vocabulary import EXTRA_WORD_SCORE, choose_pieces

from routing_service.errors import UsageError
from routing_service.routers.static_pieces import Vocabulary


def encoder(pieces: list[str]) -> E5:
    scores = np.linspace(-3, -12, len(pieces)).astype(np.float32)
    return E5(tuple(pieces), scores, 0, 1, 2, 0, 1, 1e-12, {})


def test_four_bit_weights_are_read_as_they_were_written() -> None:
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 16, (2, 32))
    scale = np.array([[0.5], [0.25]], "<f2")
    packed = np.concatenate([scale.view(np.uint8), (halves[:, :16] | halves[:, 16:] << 4).astype(np.uint8)], axis=1)
    pieces = ["<s>", "</s>", "▁é"]
    blob = "".join(pieces).encode()
    offsets = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    raw = b"E5S1" + struct.pack("<8i", 1, 32, 0, 1, 64, 2, 8, 1) + struct.pack("<f", 1e-12)
    raw += struct.pack("<6iQ", 32, len(pieces), 0, 1, 0, 2, len(blob))
    raw += offsets.tobytes() + np.array([0, 0, -5], "<f4").tobytes() + blob + struct.pack("<iI", 0, 0)
    name = b"emb.word"
    at = len(raw) + 4 + 2 + len(name) + struct.calcsize("<BIQQ")
    entry = struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", 1, 64, at, packed.size)
    model = read_e5(raw + struct.pack("<i", 1) + entry + packed.tobytes())
    assert model.pieces == tuple(pieces)
    assert (model.begin, model.end, model.unknown) == (0, 1, 2)
    np.testing.assert_array_equal(model.weights["emb.word"], (halves - 8) * scale.astype(np.float32))
    with pytest.raises(ValueError, match="not a file of 4-bit"):
        read_e5(b"GGUF" + raw)


def test_pieces_are_folded_and_frequent_words_get_their_own() -> None:
    model = encoder(["<s>", "</s>", "<unk>", "▁The", "▁the", "中", "▁中", "2", "12", ".", "▁a.b", "q", "▁", "w", "z"])
    found = choose_pieces(model, ["qwz the 中."] * 5 + ["rare"])
    assert list(found.vocabulary.pieces) == ["", "▁the", "中", "2", ".", "q", "w", "z", "▁qwz"]
    # The likelier of two spellings.
    assert found.encoder_ids[1] == (3,)
    assert found.encoder_ids[2] == (5,)
    assert found.vocabulary.scores[-1] == EXTRA_WORD_SCORE
    assert found.encoder_ids[0] == ()


def test_rare_pieces_weigh_more_and_politeness_hardly() -> None:
    pieces = ["", "▁the", "▁theorem", "▁please", "."]
    weights = piece_weights(Vocabulary(pieces, [0.0, -3.0, -11.0, -11.0, -11.0]))
    assert weights[0] == 0
    assert weights[1] < 0.01 < weights[3] < weights[2]
    assert weights[3] == weights[4] == pytest.approx(0.05 * weights[2])


def test_a_table_drops_the_direction_in_which_translations_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing_lab.training.static.table.COMPONENTS", 2)
    # Of five directions the noise is not small in most, as it is of hundreds.
    monkeypatch.setattr("routing_lab.training.static.table.NOISE_FLOOR", 1e-3)
    rng = np.random.default_rng(0)
    pieces = ["", *(f"▁en{chr(97 + i)}" for i in range(26)), *(f"▁xx{chr(97 + i)}" for i in range(26))]
    meaning = rng.normal(size=(26, 4)).astype(np.float32)
    vectors = np.zeros((len(pieces), 5), np.float32)
    vectors[1:27, :4] = vectors[27:, :4] = meaning
    # What translation changes: a direction of its own, and the longest.
    vectors[1:, 4] = 9 * rng.normal(size=52)
    letters = [chr(97 + i) for i in range(26)]
    pairs = {f"en{a} en{b}": f"xx{a} xx{b}" for a in letters for b in letters}
    table = build_table(
        Vocabulary(pieces, [0.0, *([-10.0] * 52)]), vectors, [*pairs, *pairs.values()], {"xx": pairs}, 0
    )
    assert table.components == 2
    assert table.rows[0, :2].tolist() == [0, 0]
    difference = np.abs(table.rows[1:27, :2].astype(int) - table.rows[27:, :2])
    assert difference.max() <= 6
    assert np.abs(table.rows[1:, :2]).max() == 127


def test_translations_are_read_from_compiled_catalogues(tmp_path: Path) -> None:
    messages = {"": "Content-Type: text/plain; charset=UTF-8\n", "Save %(name)s": "%(name)s speichern", "OK": "OK"}
    messages["menu\x04Log out"] = "Abmelden"
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("a/locale/de/LC_MESSAGES/django.mo", compiled(messages))
        files.writestr("a/locale/en_GB/LC_MESSAGES/django.mo", compiled(messages))
        files.writestr("a/locale/de/LC_MESSAGES/django.po", "nothing")
    assert read_catalogues([wheel]) == {"de": {"Save": "speichern", "Log out": "Abmelden"}}


def compiled(messages: dict[str, str]) -> bytes:
    """A catalogue in gettext's binary format."""
    keys = sorted(messages)
    data, tables = b"", []
    start = 28 + 16 * len(keys)
    for text in [*keys, *(messages[key] for key in keys)]:
        raw = text.encode()
        tables += [len(raw), start + len(data)]
        data += raw + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, 0)
    return head + struct.pack(f"<{len(tables)}I", *tables) + data


def test_a_wheel_that_is_missing_or_another_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "WHEELS", {"a.whl": "0" * 64})
    with pytest.raises(UsageError, match=r"lacks a\.whl"):
        wheels.check_wheels(tmp_path)
    (tmp_path / "a.whl").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"a\.whl has the SHA-256"):
        wheels.check_wheels(tmp_path)


def test_own_asks_have_topics_that_exist() -> None:
    seeds = own_seeds()
    assert len(seeds) > 250
    assert {topic for _, topic in seeds} <= set(TOPICS) == set(TOPIC_LOG_ODDS)
    asks = trivial_asks(0)
    assert asks == trivial_asks(0)
    assert len(set(asks)) == len(asks) > 300
    assert not any("{" in ask for ask in asks)


@pytest.mark.parametrize(
    ("source", "group", "prompt", "topic"),
    [
        ("gsm8k", "", "x", "math"),
        ("fasteval", "bbh/snarks", "x", "reasoning"),
        ("halueval_general", "user_query", "Write a poem about rain.", "creative"),
        ("halueval_general", "user_query", "Write a function that adds.", "code"),
        ("rubriceval_wildbench392", "Data Analysis", "x", "data"),
        ("arena-bench-v1", "arena", "x", None),
    ],
)
def test_topics_of_sources(source: str, group: str, prompt: str, topic: str | None) -> None:
    assert topic_of(source, group, prompt) == topic
