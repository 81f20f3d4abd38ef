"""What an artifact's folder may hold: the files that the manifest lists, and links that stay inside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from routing_service.artifacts.manifest import MANIFEST_NAME
from routing_service.errors import ArtifactError

# At the top: what Kubernetes makes volumes of (`..data` and what it links to), and what file systems may have there.
_VOLUME, _LOST_AND_FOUND = "..", "lost+found"


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Check the names of a manifest, and that the folder holds nothing else: a graph may read any file beside it.

    Empty folders, and `..*` and `lost+found` at the top, are ignored.

    Raises:
        ArtifactError: a name is outside the folder, there is a file that is not listed, or a link leads out of the
            folder.
    """
    listed = {MANIFEST_NAME, *(_checked_name(folder, name) for name in names)}
    holders = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    try:
        for name in sorted(listed):
            _check_inside(folder, name)
        for name, entry in _entries(folder, holders):
            if entry.is_symlink():
                _check_inside(folder, name)
            if name not in listed and not _is_of_the_volume(name, entry) and not _is_folder(name, entry, holders):
                problem = "is not listed in the manifest, so nothing vouches for it; move it elsewhere"
                raise ArtifactError(folder / name, problem)
    except OSError as error:
        raise ArtifactError(folder, f"cannot be read: {error.strerror}: {error.filename}") from error


def _checked_name(folder: Path, name: str) -> str:
    path = PurePosixPath(name)
    try:
        is_name = bool(path.parts) and "\0" not in name and bool(os.fsencode(name))
    except UnicodeEncodeError:
        is_name = False
    if not is_name or path.is_absolute() or ".." in path.parts:
        raise ArtifactError(folder / MANIFEST_NAME, f"lists {name!r}, which is outside the artifact's folder")
    return str(path)


def _check_inside(folder: Path, name: str) -> None:
    path = folder / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise ArtifactError(path, "is a link out of the artifact's folder; put the file itself in its place")


def _entries(folder: Path, holders: set[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything in the folder and in its folders, by its name from the top.

    A link to a folder is followed only where a listed file is behind it, so this ends.
    """
    left = [""]
    while left:
        above = left.pop()
        with os.scandir(folder / above) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = f"{above}/{entry.name}" if above else entry.name
            yield name, entry
            if not _is_of_the_volume(name, entry) and _is_folder(name, entry, holders):
                left.append(name)


def _is_of_the_volume(name: str, entry: os.DirEntry[str]) -> bool:
    if "/" in name:
        return False
    return name.startswith(_VOLUME) or (name == _LOST_AND_FOUND and entry.is_dir(follow_symlinks=False))


def _is_folder(name: str, entry: os.DirEntry[str], holders: set[str]) -> bool:
    return entry.is_dir(follow_symlinks=name in holders)
