"""The folder in which a training keeps what it has done so far, so that an interrupted one goes on where it was.

`run.json` says what the training was asked to do; a checkpoint is a safetensors file of arrays, with a state as JSON in
its header. Each file takes its name only when it is whole (see `routing_service.scratch`). Nothing is ever unpickled.
The file `lock` keeps out a second training at the same time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import UsageError
from routing_service.scratch import clear_leftovers, leftovers, replacing, scratch_folder

RUN, CHECKPOINT = "run.json", "checkpoint.safetensors"
LOCK = "lock"
STATE = "state"

Arrays = dict[str, npt.NDArray[np.generic]]


class Work:
    """The work folder of one training.

    Args:
        folder: made if it is missing.
        asked: what decides the result, as JSON: options, and the hashes of the data.
        restart: throw away what an earlier training left there.

    Raises:
        UsageError: the folder holds something else, the work of a training that was asked for something else, or of
            one that another process is at.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], *, restart: bool = False) -> None:
        self.folder = folder
        asked = json.loads(json.dumps(asked))  # as it will be read back
        if folder.exists() and not (folder / RUN).is_file() and not _is_empty(folder):
            raise UsageError(f"{folder} exists and was not made by a training; name another folder with --work")
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Let go of by `discard`, and when this object or the process ends.
            self._unlock = weakref.finalize(self, os.close, _locked(folder / LOCK))
            clear_leftovers(folder)
        if restart:
            self._delete_files()
        if (folder / RUN).is_file():
            self._check(asked)
        else:
            with self.writing(RUN) as path:
                path.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")

    def load(self, name: str = CHECKPOINT) -> tuple[Arrays, dict[str, Any]] | None:
        """The arrays and the state that were saved last under a name; None where nothing was.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / name
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), framework="numpy") as file:
                state = json.loads(file.metadata()[STATE])
                return {key: file.get_tensor(key) for key in file.keys()}, state  # noqa: SIM118 - it is no mapping
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is damaged: {error}; start the training afresh with --restart") from error

    def save(self, arrays: Mapping[str, npt.NDArray[Any]], state: Mapping[str, Any], name: str = CHECKPOINT) -> None:
        """Replace what was saved before under a name.

        Raises:
            UsageError: it cannot be written, e.g. the disk is full; what was saved before is still there.
        """
        from safetensors.numpy import save

        data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()}, {STATE: json.dumps(state)})
        with self.writing(name) as path:
            path.write_bytes(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Where to write a file that takes its name, in place of what had it before, when it is whole.

        Raises:
            UsageError: it cannot be written, e.g. the disk is full; what was saved before is still there.
        """
        from safetensors import SafetensorError

        with _told(self.folder), replacing(self.folder) as fresh:
            try:
                yield fresh / name
            except SafetensorError as error:  # what it says of a full disk
                raise OSError(None, str(error)) from error

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder, deleted afterwards, or by the next training where this process is killed.

        Raises:
            UsageError: it cannot be made.
        """
        with ExitStack() as stack:
            with _told(self.folder):
                folder = stack.enter_context(scratch_folder(self.folder, "scratch"))
            yield folder

    def discard(self) -> None:
        """Delete the folder and its own files; anything else in it is left."""
        self._delete_files()
        (self.folder / LOCK).unlink(missing_ok=True)
        self._unlock()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _delete_files(self) -> None:
        for path in (*self.folder.glob("*.safetensors"), self.folder / RUN):
            path.unlink(missing_ok=True)

    def _check(self, asked: Mapping[str, Any]) -> None:
        path = self.folder / RUN
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}; start the training afresh with --restart") from error
        changed = sorted(key for key in {*before, *asked} if before.get(key) != asked.get(key))
        if changed:
            raise UsageError(
                f"{self.folder} holds the work of an interrupted training that was asked for something else "
                f"({', '.join(changed)} differ). Repeat that command to go on with it, start afresh with --restart, or "
                "name another folder with --work"
            )


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written: {error.strerror}. Make room or name another folder with --work, then repeat "
            "the command: it goes on from what was saved before"
        ) from error


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder but what a training leaves that was killed as it began."""
    return folder.is_dir() and {*folder.iterdir()} <= {folder / LOCK, *leftovers(folder)}


def _locked(path: Path) -> int:
    """The descriptor of a file that this process alone has, until it closes it or ends, however it ends."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise UsageError(
            f"{path.parent}: another training is at work there; wait for it, or name another --output or --work"
        ) from error
    return file
