"""Opening checkpoints: what is read, and that nothing is ever unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="the extra `export` is not installed")
pytest.importorskip("huggingface_hub", reason="the extra `export` is not installed")
pytest.importorskip("ml_dtypes", reason="the extra `export` is not installed")

import huggingface_hub
import ml_dtypes
from safetensors.numpy import save_file

from export_onnx.checkpoint import open_checkpoint
from routing_service.errors import UsageError

TENSORS = {"a": np.ones((2, 3), np.float32), "b.c": np.arange(4, dtype=np.float32)}


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return self.mark.write_text, ("unpickled",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint = tmp_path / "some-model"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "x"}')
    save_file(TENSORS, str(checkpoint / "model.safetensors"))
    return checkpoint


def test_a_folder_is_read(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.config == {"model_type": "x"}
    assert checkpoint.shapes == {"a": (2, 3), "b.c": (4,)}
    np.testing.assert_array_equal(checkpoint.load("b.c"), TENSORS["b.c"])
    provenance = checkpoint.provenance("not there")
    assert provenance["checkpoint"] == "some-model"
    assert set(provenance["checkpoint_sha256"]) == {"config.json", "model.safetensors"}
    assert str(folder.parent) not in json.dumps(provenance)


def test_shards_are_read_together(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    weight_map = {"a": "model-1.safetensors", "b.c": "model-2.safetensors"}
    for name, file in weight_map.items():
        save_file({name: TENSORS[name]}, str(folder / file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.shapes == {"a": (2, 3), "b.c": (4,)}
    np.testing.assert_array_equal(checkpoint.load("a"), TENSORS["a"])
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(UsageError, match=r"names model-2.safetensors, which is not there"):
        open_checkpoint(str(folder))


def test_shards_outside_the_folder_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"a": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"\.\./model\.safetensors"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_tensors_of_every_float_type_become_float32(folder: Path, dtype: Any) -> None:
    values = np.array([1.5, -0.25, 3e-3]).astype(dtype)
    save_file({"a": values}, str(folder / "model.safetensors"))
    loaded = open_checkpoint(str(folder)).load("a")
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, values.astype(np.float32))


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "pkl", "ckpt"])
def test_a_pickle_is_refused_and_never_loaded(folder: Path, tmp_path: Path, suffix: str) -> None:
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "mark"
    (folder / f"pytorch_model.{suffix}").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(UsageError, match=rf"pickle \(pytorch_model\.{suffix}\).*refused.*safe_serialization"):
        open_checkpoint(str(folder))
    assert not mark.exists()


def test_a_pickle_named_safetensors_is_refused_and_never_loaded(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(UsageError, match="is not a safetensors file"):
        open_checkpoint(str(folder))
    assert not mark.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(folder: Path, value: float) -> None:
    save_file({"a": np.array([1, value], np.float32)}, str(folder / "model.safetensors"))
    with pytest.raises(UsageError, match="tensor a holds NaN or infinity"):
        open_checkpoint(str(folder)).load("a")


def test_what_float16_cannot_hold_is_refused(folder: Path) -> None:
    save_file({"a": np.array([1e5], np.float32)}, str(folder / "model.safetensors"))
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.load("a") == [1e5]
    with pytest.raises(UsageError, match="beyond float16's range; export without fp16"):
        checkpoint.load("a", "fp16")


def test_tensors_are_compared_with_what_is_expected(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    checkpoint.check_tensors({"a": (2, 3), "b.c": (4,)})
    checkpoint.check_tensors({"a": (2, 3)}, [r"b\..*"])
    with pytest.raises(UsageError) as caught:
        checkpoint.check_tensors({"a": (3, 2), "d": (1,)})
    message = str(caught.value)
    for part in ("missing 1: d [1]", "not known 1: b.c [4]", "of another shape 1: a [2, 3] instead of [3, 2]"):
        assert part in message


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", "[]", "must hold a JSON object"),
        ("config.json", "{", "is not readable JSON"),
        ("model.safetensors", None, "has no model.safetensors"),
    ],
)
def test_files_that_are_missing_or_broken_are_named(folder: Path, file: str, text: str | None, says: str) -> None:
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(UsageError, match=says):
        open_checkpoint(str(folder))


def test_a_hub_id_is_fetched_without_pickles_or_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    checkpoint = open_checkpoint("owner/name")
    assert asked["repo_id"] == checkpoint.source == "owner/name"
    assert checkpoint.revision == folder.name
    assert not [p for p in asked["allow_patterns"] if p in {"*", "*.bin", "*.pt", "*.pth", "*.pkl", "*.py"}]


def test_what_is_neither_folder_nor_id_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(repo_id: str, **_: Any) -> str:
        raise ConnectionError(f"no route to {repo_id}\nand a long story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(UsageError) as caught:
        open_checkpoint("owner/name")
    assert str(caught.value).endswith("cannot be fetched from the Hugging Face hub: no route to owner/name")
    with pytest.raises(UsageError, match="no such folder, and it is no Hugging Face id"):
        open_checkpoint("/no/such/folder")
    with pytest.raises(UsageError, match="is a file"):
        open_checkpoint(str(folder / "config.json"))
