"""Running `export-onnx` in the test's own process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export_onnx.cli import main
from routing_service.artifacts.manifest import file_entry, read_manifest
from routing_service.errors import ArtifactError


def export(kind: str, checkpoint: Path, output: Path, *options: str) -> Path:
    """Export a checkpoint, which must succeed; gives the artifact's folder."""
    assert main([kind, "--checkpoint", str(checkpoint), "--output", str(output), *options]) == 0
    return output


def refusal(capsys: pytest.CaptureFixture[str], kind: str, checkpoint: Path, output: Path, *options: str) -> str:
    """Export a checkpoint, which must be refused without writing anything; gives the message."""
    capsys.readouterr()
    assert main([kind, "--checkpoint", str(checkpoint), "--output", str(output), *options]) == 1
    assert not output.exists()
    message = capsys.readouterr().err
    assert message.startswith("export-onnx: error: ")
    return message


def change_tensors(checkpoint: Path, **changes: Any) -> None:
    """Replace tensors of a checkpoint's safetensors, by name; None takes one out."""
    from safetensors.numpy import load_file, save_file

    path = checkpoint / "model.safetensors"
    tensors = {**load_file(str(path)), **changes}
    save_file({name: value for name, value in tensors.items() if value is not None}, str(path))


def set_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None takes a key out."""
    values = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in values.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def rewrite_manifest(folder: Path, without: str = "", **options: Any) -> None:
    """Change an artifact's options, or take one out, and make its manifest fit its files again, as anybody may."""
    path = folder / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["options"].update(options)
    raw["options"].pop(without, None)
    for name in raw["files"]:
        entry = file_entry(folder / name)
        raw["files"][name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    path.write_text(json.dumps(raw), encoding="utf-8")
    try:
        read_manifest(folder)
    except ArtifactError as error:  # it says which revision the content has
        raw["revision"] = str(error).split("its content is '")[1].split("'")[0]
        path.write_text(json.dumps(raw), encoding="utf-8")
