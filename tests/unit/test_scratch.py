"""New files take the place of old ones together, and what a killed process leaves is cleared by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from routing_service import scratch
from routing_service.scratch import clear_leftovers, leftovers, put_folder, replacing, scratch_folder
from tests.support.disks import contents, run_until_killed

LEFT = """
from routing_service.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "half").write_text("half")
    die()
"""


def test_the_folder_is_there_for_as_long_as_the_context(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "out") as folder:
        assert folder.parent == tmp_path
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_by_the_next_of_that_name_only(tmp_path: Path) -> None:
    for name in ("out", "other"):
        run_until_killed(LEFT, tmp_path, name)
    assert {path.read_text() for path in tmp_path.rglob("half")} == {"half"}
    with scratch_folder(tmp_path, "out") as folder:
        assert leftovers(tmp_path, "out") == [folder]
        assert len(leftovers(tmp_path)) == 2
    assert len(leftovers(tmp_path, "other")) == 1
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "out") as one:
        with scratch_folder(tmp_path, "out") as other:
            assert {one, other} == set(leftovers(tmp_path))
        assert one.is_dir()
        clear_leftovers(tmp_path)
        assert one.is_dir()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    mine = [".out.unfinished", ".out.abcdefgh.unfinished.txt", "out.abcdefgh.unfinished", ".out.ABCDEFGH.unfinished"]
    for name in mine:
        (tmp_path / name).mkdir()
    (tmp_path / ".out.abcdefgh.unfinished").write_text("a file")
    (tmp_path / "target").mkdir()
    (tmp_path / ".out.abcdefgi.unfinished").symlink_to("target")
    clear_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(mine) + 3


def test_a_folder_that_is_cleared_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, cleared = fcntl.flock, list[Path]()

    def too_late(handle: int, how: int) -> None:
        lock(handle, how)
        if not cleared:
            cleared.extend(leftovers(tmp_path))
            shutil.rmtree(cleared[0])

    monkeypatch.setattr(fcntl, "flock", too_late)
    with scratch_folder(tmp_path, "out") as folder:
        assert folder.is_dir()
        assert folder not in cleared


def test_without_locks_files_are_written_and_nothing_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_until_killed(LEFT, tmp_path, "out")

    def unsupported(handle: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with scratch_folder(tmp_path, "out"):
        assert len(leftovers(tmp_path)) == 2
    assert len(leftovers(tmp_path)) == 1


def test_files_take_their_names_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "c").write_text("another's")
    with replacing(tmp_path) as fresh:
        (fresh / "a").write_text("new")
        (fresh / "b").write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert contents(tmp_path) == {"a": b"new", "b": b"new", "c": b"another's"}


def test_a_process_that_is_killed_before_the_last_file_is_whole_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    script = """
from routing_service import scratch
scratch.sync = die
with scratch.replacing(Path(sys.argv[1])) as fresh:
    (fresh / "a").write_text("new")
"""
    run_until_killed(script, tmp_path)
    assert (tmp_path / "a").read_text() == "old"
    with replacing(tmp_path) as fresh:
        (fresh / "b").write_text("new")
    assert contents(tmp_path) == {"a": b"old", "b": b"new"}


def test_a_folder_takes_the_place_of_another_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, fresh = tmp_path / "place", tmp_path / "fresh"
    for folder in (place, fresh):
        folder.mkdir()
        (folder / folder.name).touch()
    moved = []
    monkeypatch.setattr(Path, "rename", lambda path, _: moved.append(path))
    put_folder(fresh, place, tmp_path / "aside")
    if not moved:  # the system can exchange names
        assert [path.name for path in place.iterdir()] == ["fresh"]
        assert [path.name for path in fresh.iterdir()] == ["place"]


@pytest.mark.parametrize("error", [OSError(5, "no"), KeyboardInterrupt()])
def test_where_names_cannot_be_exchanged_a_failure_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    place, fresh = tmp_path / "place", tmp_path / "fresh"
    for folder in (place, fresh):
        folder.mkdir()
        (folder / folder.name).touch()
    monkeypatch.setattr(scratch, "_exchange", lambda *_: False)
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path == fresh:
            raise error
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        with pytest.raises(type(error)):
            put_folder(fresh, place, tmp_path / "aside")
    assert [path.name for path in place.iterdir()] == ["place"]
    put_folder(fresh, place, tmp_path / "aside")
    assert [path.name for path in place.iterdir()] == ["fresh"]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def only_files(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112 - a descriptor has no other name
            raise OSError(22, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    with replacing(tmp_path) as fresh:
        (fresh / "a").write_text("new")
    assert contents(tmp_path) == {"a": b"new"}
