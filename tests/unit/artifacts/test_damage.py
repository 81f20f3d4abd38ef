"""Damage in any file, with hashes that agree with it, ends in one error with the file's name, or does no harm."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import file_entry, read_manifest
from routing_service.errors import ArtifactError
from routing_service.routers.static import StaticRouter

FILES = ("model.onnx", "tokenizer.json")


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Some bits flipped, bytes replaced, or the end cut off; in the first kilobyte, where the structure is, mostly."""
    changed = bytearray(raw)
    size = len(raw) if chance.random() < 0.3 else min(len(raw), 1024)
    if chance.random() < 0.25:
        return raw[: chance.randrange(size)]
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = chance.randrange(size)
        changed[place] = chance.choice((changed[place] ^ 1 << chance.randrange(8), 0, 0x22, 0x7B, 0x80, 0xFF))
    return bytes(changed)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_damage_ends_in_one_error_or_does_no_harm(static_artifact: Path, tmp_path: Path, name: str) -> None:
    manifest, raw = read_manifest(static_artifact), (static_artifact / name).read_bytes()
    refused: list[str] = []
    for seed in range(40):
        folder = shutil.copytree(static_artifact, tmp_path / str(seed))
        (folder / name).write_bytes(damaged(raw, random.Random(seed)))
        if name in FILES:
            agreeing = replace(manifest, files={file: file_entry(folder / file) for file in FILES})
            (folder / "manifest.json").write_text(agreeing.to_json(), encoding="utf-8")
        try:
            StaticRouter(open_artifact(folder, "static"))
        except ArtifactError as error:
            refused.append(error.path.relative_to(folder).as_posix())
    assert len(refused) > 20
    assert set(refused) <= {".", name, "manifest.json"}
