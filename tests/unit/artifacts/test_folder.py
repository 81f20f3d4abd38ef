"""What stands in an artifact's folder: only what the manifest lists, and nothing that waits or leads elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import FileEntry, Manifest, SelfTest, file_entry
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair

TIB = 1 << 40


@pytest.fixture
def folder(tmp_path: Path, static_artifact: Path) -> Path:
    """A copy of the tiny artifact to spoil."""
    return shutil.copytree(static_artifact, tmp_path / "artifact")


def refusal(folder: Path, path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        open_artifact(folder, "static")
    assert caught.value.path == path
    return str(caught.value)


def with_files(folder: Path, files: dict[str, FileEntry]) -> Path:
    manifest = Manifest("static", ModelPair("a", "b"), 8, files, "MIT", SelfTest(0.1, ()))
    # Escaped, as a lone surrogate cannot be written otherwise.
    (folder / "manifest.json").write_text(json.dumps(json.loads(manifest.to_json())))
    return folder


def sparse(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    path.touch()
    os.truncate(path, size)


def bind_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "name", ["notes.txt", "weights/part.bin", ".DS_Store", ".hidden/x", "weights/..data", "weights/lost+found"]
)
def test_a_file_that_the_manifest_does_not_list_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    assert "is not listed in the manifest" in refusal(folder, folder / name)


@pytest.mark.parametrize("make", [os.mkfifo, bind_socket, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_refused_too(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder / "odd")
    assert "is not listed in the manifest" in refusal(folder, folder / "odd")


def test_what_volumes_and_file_systems_leave_at_the_top_is_ignored(folder: Path) -> None:
    for name in ("..2026_11_29", "lost+found", "empty/deeper"):
        (folder / name).mkdir(parents=True)
    (folder / "lost+found" / "#12").touch()
    (folder / "..2026_11_29" / "other").touch()
    open_artifact(folder, "static")


def test_a_volume_of_kubernetes_is_opened(tmp_path: Path) -> None:
    """Its files, and the folders at its top, are links through `..data` into a folder that an update replaces."""
    real = tmp_path / "mounted" / "..2026_11_29"
    (real / "weights").mkdir(parents=True)
    for name in ("top.bin", "weights/part.bin"):
        (real / name).write_bytes(b"x")
    with_files(real, {name: file_entry(real / name) for name in ("top.bin", "weights/part.bin")})
    (real.parent / "..data").symlink_to(real.name)
    for name in ("top.bin", "weights", "manifest.json"):
        (real.parent / name).symlink_to(f"..data/{name}")
    artifact = open_artifact(real.parent, "static")
    assert artifact.file("weights/part.bin").read_bytes() == b"x"
    (tmp_path / "link").symlink_to("mounted")
    open_artifact(tmp_path / "link", "static")
    # A folder behind a link holds nothing else either.
    (real / "weights" / "more.bin").touch()
    assert "is not listed" in refusal(real.parent, real.parent / "weights" / "more.bin")


@pytest.mark.parametrize("name", ["model.onnx", "..data", "elsewhere"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    shutil.copytree(folder, tmp_path / "outside")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(f"../outside/{name if name == 'model.onnx' else ''}")
    assert "is a link out of the artifact's folder" in refusal(folder, folder / name)


def test_a_folder_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "part.bin").write_bytes(b"x")
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "weights").symlink_to("../outside")
    with_files(tmp_path / "artifact", {"weights/part.bin": file_entry(tmp_path / "outside" / "part.bin")})
    message = refusal(tmp_path / "artifact", tmp_path / "artifact" / "weights" / "part.bin")
    assert "is a link out of the artifact's folder" in message


def test_links_in_circles_end(folder: Path) -> None:
    (folder / "again").symlink_to(".")
    assert "is not listed" in refusal(folder, folder / "again")
    (folder / "again").unlink()
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("model.onnx")
    assert "restore the artifact" in refusal(folder, folder / "model.onnx")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("make", [os.mkfifo, bind_socket, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_what_stands_in_a_file_s_place_is_told_without_waiting(
    folder: Path, name: str, make: Callable[[Path], None]
) -> None:
    (folder / name).unlink()
    make(folder / name)
    message = refusal(folder, folder / name)
    assert "not a file; restore the artifact" in message or "is a link out of the artifact's folder" in message


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("manifest.json", TIB, "has 1,099,511,627,776 bytes; such a file has at most 16,777,216"),
        ("tokenizer.json", TIB, "such a file has at most 134,217,728"),
        ("model.onnx", TIB, "such a file has at most 2,147,483,647"),
        # It is not read, as the size alone is wrong.
        ("model.onnx", 2**31 - 1, "is not the file that the manifest describes (2147483647 bytes"),
    ],
)
def test_an_absurd_size_is_refused_before_anything_is_read(folder: Path, name: str, size: int, says: str) -> None:
    sparse(folder / name, size)
    assert says in refusal(folder, folder / name)


def test_an_absurd_size_is_refused_though_the_manifest_has_it(tmp_path: Path) -> None:
    sparse(tmp_path / "weights.bin", TIB)
    with_files(tmp_path, {"weights.bin": FileEntry("ab" * 32, TIB)})
    assert "such a file has at most" in refusal(tmp_path, tmp_path / "weights.bin")


@pytest.mark.parametrize("name", ["", ".", "/", "\udc80\ud800", "a\0b", "..", "a/.."])
def test_a_name_that_no_file_of_the_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with_files(tmp_path, {name: FileEntry("ab" * 32, 1)})
    assert "is outside the artifact's folder" in refusal(tmp_path, tmp_path / "manifest.json")
