"""Files are written whole or not at all, one or several together."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest

from routing_service.errors import UsageError
from routing_service.files import prepare_folder, write_files, writing, writing_bytes
from tests.support.disks import FullDisk, contents, run_until_killed


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with writing(path) as file:
        file.write("prémier\n")
        assert not path.exists()
    assert path.read_bytes() == "prémier\n".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), UsageError("no")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    def fail() -> None:
        with writing(path) as file:
            file.write("new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old and longer")
    with writing(path) as file:
        file.write("new")
    assert path.read_text() == "new"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with writing(tmp_path / "out"):
            pass
        after = os.umask(0o027)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
    assert after == 0o027, "writing must not change the process's umask"


def test_a_missing_folder_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out"
    with pytest.raises(UsageError, match=r"missing/out: cannot be written: No such file or directory"), writing(path):
        pytest.fail("there is nowhere to write to")


def test_a_folder_in_the_file_s_place_is_an_error_and_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="out: cannot be written"), writing(tmp_path / "out") as file:
        file.write("new")
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_an_error_of_the_caller_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    """What the body raises is the body's; only writing's own failures are about `path`."""

    def read_something_else() -> None:
        with writing(tmp_path / "out"):
            (tmp_path / "input").read_text()

    with pytest.raises(FileNotFoundError):
        read_something_else()


def test_a_symbolic_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with writing(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_dangling_link_gets_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("target")
    with writing(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with writing(pipe) as file:
            file.write("prémier\n")
        assert os.read(reader, 100) == "prémier\n".encode()
    finally:
        os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_reader_that_has_gone_is_no_mistake(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def write() -> None:
        with writing(pipe) as file:
            os.close(reader)
            file.write("new")

    with pytest.raises(BrokenPipeError):
        write()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not here: only Linux has a device that is always full")
@pytest.mark.parametrize("length", [3, 1 << 20], ids=["when it is closed", "while it is written"])
def test_a_full_disk_is_told(length: int) -> None:
    with (
        pytest.raises(UsageError, match="/dev/full: cannot be written: No space left"),
        writing(Path("/dev/full")) as f,
    ):
        f.write("x" * length)


def test_a_name_that_ends_in_gz_is_compressed_to_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.gz", "other.gz"):
        with writing(tmp_path / name) as file:
            file.write("prémier\n" * 1000)
    packed = (tmp_path / "one.gz").read_bytes()
    assert gzip.decompress(packed) == "prémier\n".encode() * 1000
    assert packed == (tmp_path / "other.gz").read_bytes()


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    with writing_bytes(tmp_path / "out.gz") as file:
        file.write(b"\xff\0")
    assert contents(tmp_path) == {"out.gz": b"\xff\0"}


def test_a_killed_process_keeps_the_old_file_and_the_next_clears_up(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    script = """
from routing_service.files import writing
with writing(Path(sys.argv[1])) as file:
    file.write("half")
    file.flush()
    die()
"""
    run_until_killed(script, path)
    assert path.read_text() == "old"
    assert len(contents(tmp_path)) == 2
    with writing(path) as file:
        file.write("new")
    assert contents(tmp_path) == {"out": b"new"}


def test_several_files_are_written_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    prepare_folder(folder)
    write_files(folder, {"a": b"1", "b": b"2"})
    write_files(folder, {"a": b"3"})
    assert contents(folder) == {"a": b"3", "b": b"2"}
    assert (folder / "a").stat().st_mode & 0o044


def test_a_full_disk_leaves_every_old_file(tmp_path: Path, full_disk: FullDisk) -> None:
    write_files(tmp_path / "out", {"a": b"old a", "b": b"old b"})
    # The first file still fits, the second does not.
    with (
        full_disk(after=1),
        pytest.raises(UsageError, match="out: cannot be written: No space left on device; the old content"),
    ):
        write_files(tmp_path / "out", {"a": b"new a", "b": b"new b"})
    assert contents(tmp_path / "out") == {"a": b"old a", "b": b"old b"}


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/out: cannot be written: Not a directory"):
        prepare_folder(tmp_path / "file" / "out")
    with pytest.raises(UsageError, match="file: is a file, but results need a folder"):
        prepare_folder(tmp_path / "file")
    with pytest.raises(UsageError, match="-: is standard output, but results need a folder"):
        prepare_folder(Path("-"))


def test_a_folder_in_one_file_s_place_leaves_every_old_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"old"})
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="the old content is unchanged"):
        write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
