"""Writing several files together, so that what was there stays whole when one of them cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from routing_service.errors import UsageError


def prepare_folder(folder: Path) -> None:
    """Make `folder` if need be and see that it can be written to: better said before long work than after.

    Raises:
        UsageError: it cannot.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, and results need a folder; name another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files`, contents by name, into `folder`, replacing those that are there.

    All are written and on disk before the first takes its name, so that a full disk leaves every old one as it was.

    Raises:
        UsageError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        for name, content in files.items():
            if (folder / name).is_dir():  # replacing it would fail half-way
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
            with (scratch / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            (scratch / name).replace(folder / name)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{folder}: cannot be written: {error.strerror}; what was there is untouched")
