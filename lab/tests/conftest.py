"""Word embeddings and preferences small enough to train on in a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from routing_lab.training.static import exam as static_exam
from routing_lab.training.static.asks import closed
from routing_lab.training.static.features import FEATURE_NAMES, piece_classes
from routing_lab.training.static.graph import build_graph
from routing_lab.training.static.heads import fuse
from routing_lab.training.static.table import StaticTable
from routing_lab.training.static.topics import TOPICS
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from routing_service.artifacts.manifest import Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.models import ModelPair
from routing_service.routers.static_pieces import Vocabulary
from tests.support.training import EASY, HARD, LETTERS, PIECES, WriteBattles, WritePreferences


@pytest.fixture
def embeddings_folder(tmp_path: Path) -> Path:
    """A folder as `--embeddings` takes it: a word-piece tokenizer and random vectors of eight dimensions."""
    folder = tmp_path / "embeddings"
    folder.mkdir()
    vocabulary = {piece: i for i, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.random.default_rng(0).normal(size=(len(PIECES), 8)).astype(np.float32)
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    return folder


@pytest.fixture
def static_table() -> StaticTable:
    """A table of eight random components for letters and for easy and hard words."""
    pieces = [
        "",
        *LETTERS,
        *(f"\u2581{letter}" for letter in LETTERS),
        *(f"\u2581{w}" for w in f"{EASY} {HARD}".split()),
    ]
    pieces += [".", "?", "中", "文"]
    scores = [0.0, *([-8.0] * (len(pieces) - 1))]
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (len(pieces), 9)).astype(np.int8)
    rows[:, 8] = 127
    rows[0] = 0
    classes = np.concatenate([np.ones((len(pieces), 1)), piece_classes(pieces, scores)], axis=1)
    kinds = np.arange(len(pieces), dtype=np.int32)
    return StaticTable(Vocabulary(pieces, scores), rows, kinds, classes.astype(np.float32))


@pytest.fixture
def table_folder(tmp_path: Path, static_table: StaticTable) -> Path:
    """A folder as `--table` takes it: an artifact that scores every prompt alike."""
    folder = tmp_path / "table"
    folder.mkdir()
    inputs = static_table.components + len(FEATURE_NAMES)
    heads = fuse(
        np.zeros(inputs, np.float32),
        np.ones(inputs, np.float32),
        *(closed(inputs, size, 0.0) for size in (1, 1, 1, len(TOPICS))),
    )
    (folder / "pieces.json").write_bytes(static_table.pieces_file())
    (folder / "model.onnx").write_bytes(build_graph(static_table, heads))
    files = {name: file_entry(folder / name) for name in ("pieces.json", "model.onnx")}
    manifest = Manifest(
        "static", ModelPair("a", "b"), 512, files, "Apache-2.0", SelfTest(1e-4, (SelfTestVector(EASY, 0.5),))
    )
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return folder


@pytest.fixture
def write_preferences(tmp_path: Path) -> WritePreferences:
    """Write rows in which the strong model wins on hard prompts and the models tie on easy ones."""

    def write(rows: int, name: str = "own.jsonl") -> Path:
        rng = np.random.default_rng(rows)
        lines = []
        for row in range(rows):
            words = (HARD if row % 2 else EASY).split()
            prompt = " ".join(rng.choice(words, 3)) + f" {row}?"
            # One row in ten is the other way around: outcomes are noisy.
            won = (row % 2) ^ (row % 10 == 0)
            lines.append(json.dumps({"prompt": prompt, "scores": {"big": 1, "small": 0 if won else 1}}))
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trees: enough for the easiest of all problems."""
    monkeypatch.setattr(static_exam, "ROUNDS", 25)
    # Threads cost more than they bring on so few rows.
    monkeypatch.setitem(static_exam.TREE_PARAMETERS, "num_threads", 1)


@pytest.fixture
def write_battles(tmp_path: Path) -> WriteBattles:
    """Write Arena's columns: big beats small on hard prompts, they tie on easy ones, and tiny always loses."""

    def write(rows: int, name: str = "battles.jsonl", outcomes: tuple[str, ...] = ()) -> Path:
        rng = np.random.default_rng(rows)
        lines = []
        for row in range(rows):
            hard = row % 2
            prompt = " ".join(rng.choice((HARD if hard else EASY).split(), 3)) + f" {row}?"
            pair = ("big", "small") if row % 3 else ("small", "tiny")
            winner = "model_a" if hard ^ (row % 10 == 0) or not row % 3 else "tie"
            if rng.random() < 0.5:
                pair, winner = pair[::-1], {"model_a": "model_b"}.get(winner, winner)
            if outcomes:
                winner = outcomes[row % len(outcomes)]
            lines.append(
                json.dumps({"prompt": json.dumps([prompt]), "model_a": pair[0], "model_b": pair[1], "winner": winner})
            )
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
