"""Files are written all or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from routing_lab.evals.output import prepare_folder, write_files

from routing_service.errors import UsageError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_written_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    prepare_folder(folder)
    write_files(folder, {"a": b"1", "b": b"2"})
    write_files(folder, {"a": b"3"})
    assert contents(folder) == {"a": b"3", "b": b"2"}
    assert (folder / "a").stat().st_mode & 0o044


def test_a_full_disk_leaves_every_old_file(tmp_path: Path, full_disk: Any) -> None:
    write_files(tmp_path / "out", {"a": b"old a", "b": b"old b"})
    # The first file still fits, the second does not.
    with (
        full_disk(after=1),
        pytest.raises(UsageError, match="out: cannot be written: No space left on device; what was there"),
    ):
        write_files(tmp_path / "out", {"a": b"new a", "b": b"new b"})
    assert contents(tmp_path / "out") == {"a": b"old a", "b": b"old b"}


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/out: cannot be written: Not a directory"):
        prepare_folder(tmp_path / "file" / "out")
    with pytest.raises(UsageError, match="file: is a file, and results need a folder"):
        prepare_folder(tmp_path / "file")


def test_a_folder_in_a_files_place_leaves_every_old_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"old"})
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="what was there is untouched"):
        write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
