"""An `mf` artifact with its encoder in it: nothing else is needed, and nothing in it goes unchecked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `train` is not installed")

from routing_lab.training.embeddings import Embeddings
from routing_lab.training.mf.encoder import write_word_vector_encoder
from routing_lab.training.mf.train import train

from routing_service.artifacts.manifest import Manifest, file_entry, read_manifest
from routing_service.config import parse_config
from routing_service.embedders.registry import Embedders
from routing_service.errors import ArtifactError
from routing_service.routers.base import Router
from routing_service.routers.registry import build_routers
from tests.support.progress import no_progress
from tests.support.training import HARD, PIECES, WriteBattles, request


@pytest.fixture
def folder(tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles) -> Path:
    train(request(write_battles(300), tmp_path / "mf", embeddings_folder), progress=no_progress)
    return tmp_path / "mf"


def build(base: Path, router: str = "{type: mf, artifact: mf}", embedders: str = "") -> Router:
    config = parse_config(f"routers:\n  mf: {router}\n{embedders}", "test", base)
    return build_routers(config, Embedders(config))["mf"]


def reseal(folder: Path, change: Callable[[Path], None]) -> None:
    """Change files of an artifact, and let its own manifest vouch for them."""
    change(folder)
    content = json.loads((folder / "manifest.json").read_text())
    old = read_manifest(folder)
    kept = {name: getattr(old, name) for name in content if name not in ("revision", "files")}
    files = {name: file_entry(folder / name) for name in old.files}
    (folder / "manifest.json").write_text(Manifest(**kept, files=files).to_json())


def test_no_embedder_need_be_named(folder: Path) -> None:
    router = build(folder.parent)
    (rate,) = router.score([HARD], router.models).strong_win_rates
    assert 0 < rate < 1
    assert router.max_tokens == 512


def test_an_embedder_that_is_named_is_used_instead(folder: Path) -> None:
    inside = build(folder.parent)
    reversed_vectors = np.random.default_rng(5).normal(size=(len(PIECES), 8)).astype(np.float32)
    tokenizer = (folder / "encoder" / "tokenizer.json").read_bytes()
    write_word_vector_encoder(Embeddings(reversed_vectors, tokenizer, {"name": "other"}), folder.parent / "other")
    outside = build(
        folder.parent,
        "{type: mf, artifact: mf, embedder: other}",
        "embedders:\n  other: {type: onnx, artifact: other}\n",
    )
    rates = [router.score([HARD], router.models).strong_win_rates[0] for router in (inside, outside)]
    assert rates[0] != rates[1]
    same = build(
        folder.parent,
        "{type: mf, artifact: mf, embedder: same}",
        "embedders:\n  same: {type: onnx, artifact: mf/encoder}\n",
    )
    assert same.score([HARD], same.models).strong_win_rates == [rates[0]]


@pytest.mark.parametrize("name", ["encoder/model.onnx", "encoder/manifest.json", "encoder/tokenizer.json"])
def test_a_changed_file_of_the_encoder_is_noticed(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=f"{name} is not the file that the manifest describes"):
        build(folder.parent)


def test_a_file_beside_the_encoder_s_is_noticed(folder: Path) -> None:
    (folder / "encoder" / "weights.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"encoder/weights\.bin is not listed"):
        build(folder.parent)


def test_the_encoder_s_own_manifest_counts_too(folder: Path) -> None:
    def replace_tokenizer(changed: Path) -> None:
        (changed / "encoder" / "tokenizer.json").write_text("{}")

    reseal(folder, replace_tokenizer)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is not the file"):
        build(folder.parent)


def test_an_encoder_of_another_length_is_noticed(folder: Path, tmp_path: Path) -> None:
    def replace_encoder(changed: Path) -> None:
        tokenizer = (changed / "encoder" / "tokenizer.json").read_bytes()
        vectors = np.ones((len(PIECES), 9), np.float32)
        write_word_vector_encoder(Embeddings(vectors, tokenizer, {"name": "e"}), changed / "encoder")

    reseal(folder, replace_encoder)
    with pytest.raises(ArtifactError, match="makes vectors of length 9, but the artifact around it needs 8"):
        build(folder.parent)
