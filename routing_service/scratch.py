"""New files are made here before they replace old ones: all of them or none, and on disk first.

New files are made in a folder beside their place; it is deleted at the end. A killed process
leaves it, and the next process for the same place deletes it: a lock shows which folders are in use.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

# Such a folder is called `.NAME.????????.unfinished`.
SUFFIX = ".unfinished"
# The name for several files.
SEVERAL = "files"
# Linux's renameat2: relative to the working directory, and its flag.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder. At the end its files move to `folder` and replace those with the same names.

    All are on disk before the first one moves: a full disk leaves every old file unchanged.

    Raises:
        OSError: they cannot be written.
    """
    with scratch_folder(folder, SEVERAL) as fresh:
        yield fresh
        names = [path.name for path in fresh.iterdir()]
        for name in names:
            if (folder / name).is_dir():  # replacing it would fail half-way
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
        sync(fresh)
        for name in names:
            (fresh / name).replace(folder / name)
        sync_folder(folder)


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder inside `parent`, deleted at the end. First, folders of killed processes for `name` are deleted.

    Raises:
        OSError: it cannot be made.
    """
    clear_leftovers(parent, name)
    with ExitStack() as stack:
        while True:
            path = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=SUFFIX))
            with suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY)
                stack.callback(os.close, handle)
                stack.callback(shutil.rmtree, path, ignore_errors=True)
                with suppress(OSError):  # some file systems have no locks; then nothing is deleted either
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if path.exists():  # or another process deleted it just before it was locked
                    break
        yield path


def leftovers(parent: Path, name: str | None = None) -> list[Path]:
    """The folders of new files in `parent`, of living and of killed processes: those for `name`, or all."""
    wanted = "[^/]+" if name is None else re.escape(name)
    pattern = re.compile(rf"\.{wanted}\.[a-z0-9_]{{8}}{re.escape(SUFFIX)}")
    try:
        return sorted(path for path in parent.iterdir() if pattern.fullmatch(path.name))
    except OSError:
        return []


def clear_leftovers(parent: Path, name: str | None = None) -> None:
    """Delete the folders of killed processes in `parent`: for `name`, or all."""
    for path in leftovers(parent, name):
        with abandoned(path) as dead:
            if dead:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether the process that made this folder has ended. While the context lasts, no other process deletes it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def put_folder(fresh: Path, place: Path, aside: Path) -> None:
    """Put a folder where another may be; in one step if the system can swap the two.

    If it cannot, the old folder is moved to `aside` first; a process that is killed at that moment leaves it there.

    Raises:
        OSError: it cannot be done; the old folder is where it was.
    """
    sync(fresh)
    if not place.exists():
        fresh.rename(place)
    elif not _exchange(fresh, place):
        try:
            place.rename(aside)
            fresh.rename(place)
        except BaseException:
            if aside.exists() and not place.exists():
                aside.rename(place)
            raise
    sync_folder(place.parent)


def sync(folder: Path) -> None:
    """Write everything in a folder to the disk.

    Raises:
        OSError: it failed, e.g. because the disk is full.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, if the file system allows it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step. False if that is not possible."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
