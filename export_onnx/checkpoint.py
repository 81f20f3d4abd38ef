"""Checkpoints: a local folder or a Hugging Face id, its files, its tensors. Nothing is unpickled, ever."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export_onnx.quantize import Precision, fits_float16
from routing_service.artifacts.manifest import file_entry
from routing_service.errors import UsageError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# What is fetched from the hub: never a pickle, never code.
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LISTED = 8  # names in one message

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with `config.json` and safetensors.

    `source` names it in the manifest: the folder's name, or the hub's id, with `revision` where known; `config` is
    config.json; `shapes` has every tensor's shape by name, `files` the safetensors file of each.
    """

    folder: Path
    source: str
    revision: str | None
    config: Mapping[str, Any]
    shapes: Mapping[str, Shape]
    files: Mapping[str, Path]

    def check_tensors(self, expected: Mapping[str, Shape], ignored: Sequence[str] = ()) -> None:
        """Compare the tensors with what the model's configuration asks for. `ignored` are regular expressions.

        Raises:
            UsageError: tensors are missing, not known, or of another shape; each is listed.
        """
        missing = [f"{name} {list(shape)}" for name, shape in expected.items() if name not in self.shapes]
        extra = [
            f"{name} {list(shape)}"
            for name, shape in self.shapes.items()
            if name not in expected and not any(re.fullmatch(pattern, name) for pattern in ignored)
        ]
        odd = [
            f"{name} {list(self.shapes[name])} instead of {list(shape)}"
            for name, shape in expected.items()
            if name in self.shapes and self.shapes[name] != shape
        ]
        faults = [
            f"{what} {len(names)}: {_listed(names)}"
            for what, names in (("missing", missing), ("not known", extra), ("of another shape", odd))
            if names
        ]
        if faults:
            raise UsageError(
                f"{self.folder}: its tensors are not those of its {CONFIG}: {'; '.join(faults)}. "
                "Give the checkpoint that belongs to this configuration"
            )

    def load(self, name: str, precision: Precision = "fp32") -> npt.NDArray[np.float32]:
        """A tensor as float32.

        Raises:
            UsageError: it holds NaN or infinity, or a value that `precision` cannot hold.
        """
        import ml_dtypes  # noqa: F401 - teaches numpy bfloat16, which safetensors then reads
        from safetensors import safe_open

        path = self.files[name]
        with safe_open(str(path), framework="numpy") as file:
            values: npt.NDArray[np.float32] = file.get_tensor(name).astype(np.float32)
        if not np.isfinite(values).all():
            raise UsageError(f"{path}: tensor {name} holds NaN or infinity; the checkpoint is broken, get a sound one")
        if precision == "fp16" and not fits_float16(values):
            raise UsageError(f"{path}: tensor {name} holds values beyond float16's range; export without fp16")
        return values

    def provenance(self, *more: str) -> dict[str, Any]:
        """Where it comes from, for a manifest: source, revision, and the SHA-256 of the files used and of `more`."""
        names = sorted({CONFIG, *(path.name for path in self.files.values()), *more})
        hashes = {name: file_entry(self.folder / name).sha256 for name in names if (self.folder / name).is_file()}
        return {"checkpoint": self.source, "checkpoint_revision": self.revision, "checkpoint_sha256": hashes}


def open_checkpoint(source: str, *, required: Sequence[str] = ()) -> Checkpoint:
    """Open a folder, or fetch a Hugging Face id, and read its configuration and its tensors' shapes.

    Raises:
        UsageError: there is no such folder or id, a required file is missing or broken, or its weights are a pickle.
    """
    folder, name, revision = _resolve(source)
    for file in (CONFIG, *required):
        if not (folder / file).is_file():
            raise UsageError(
                f"{folder}: has no {file}, which this export needs; give the folder that save_pretrained wrote"
            )
    config = _read_json(folder / CONFIG)
    shapes: dict[str, Shape] = {}
    files: dict[str, Path] = {}
    for path in _weight_files(folder):
        for tensor, shape in _tensors(path):
            if tensor in files:
                raise UsageError(f"{folder}: tensor {tensor} is in both {files[tensor].name} and {path.name}")
            shapes[tensor], files[tensor] = shape, path
    return Checkpoint(folder, name, revision, config, shapes, files)


def _resolve(source: str) -> tuple[Path, str, str | None]:
    folder = Path(source)
    if folder.is_dir():
        return folder, folder.resolve().name, None
    if folder.exists():
        raise UsageError(f"{source}: is a file; give the folder that save_pretrained wrote, or a Hugging Face id")
    if not _HUB_ID.fullmatch(source):
        raise UsageError(f"{source}: there is no such folder, and it is no Hugging Face id (OWNER/NAME) either")
    from huggingface_hub import snapshot_download

    try:
        fetched = Path(snapshot_download(source, allow_patterns=list(WANTED)))
    except Exception as error:  # the hub's client raises its own kinds, and those of its HTTP library
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{source}: there is no such folder, and it cannot be fetched from the Hugging Face hub: {first}"
        ) from error
    return fetched, source, fetched.name


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        weight_map = _read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UsageError(f"{folder / INDEX}: has no weight_map; restore the checkpoint")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise UsageError(f"{folder}: {INDEX} names {name}, which is not there; restore the checkpoint")
        return [folder / name for name in names]
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES):
        raise UsageError(
            f"{folder}: its weights are a pickle ({_listed(pickles)}), which can run code when it is read: refused; "
            "convert it where you trust it: load the model and call save_pretrained(…, safe_serialization=True)"
        )
    raise UsageError(f"{folder}: has no {WEIGHTS}; give the folder that save_pretrained wrote")


def _tensors(path: Path) -> Iterator[tuple[str, Shape]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict, and cannot be iterated itself
                yield name, tuple(file.get_slice(name).get_shape())
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: is not a safetensors file ({error}); restore it") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}: must hold a JSON object")
    return value


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
