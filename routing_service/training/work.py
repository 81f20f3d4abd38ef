"""The folder in which a training keeps what it has done so far, so that an interrupted one goes on where it was.

`run.json` says what the training was asked to do; a checkpoint is a safetensors file of arrays, with a state as JSON in
its header. Each file takes its name only when it is whole, and nothing in either is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import UsageError

RUN, CHECKPOINT = "run.json", "checkpoint.safetensors"
STATE = "state"

Arrays = dict[str, npt.NDArray[np.generic]]


def work_folder(output: Path) -> Path:
    """Where the work for an artifact is kept unless told otherwise: `OUTPUT.work`, beside it."""
    return output.with_name(output.name + ".work")


class Work:
    """The work folder of one training.

    Args:
        folder: made if it is missing.
        asked: what decides the result, as JSON: options, and the hashes of the data.
        restart: throw away what an earlier training left there.

    Raises:
        UsageError: the folder holds something else, or the work of a training that was asked for something else.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], *, restart: bool = False) -> None:
        self.folder = folder
        asked = json.loads(json.dumps(asked))  # as it will be read back
        if folder.exists() and not (folder / RUN).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is no training's work; name another folder with --work")
        if restart:
            self.discard()
        if (folder / RUN).is_file():
            self._check(asked)
        else:
            with _told(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _replace(folder / RUN, (json.dumps(asked, indent=2) + "\n").encode())

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
        with _told(self.folder):
            _replace(self.folder / name, data)

    def discard(self) -> None:
        """Delete the folder and its own files; anything else in it is left."""
        for path in (*self.folder.glob("*.safetensors"), self.folder / RUN):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

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


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
