"""Disks that are full, and processes that are killed while they write."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

FullDisk = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """`with full_disk(after=n)`: all but the first n files find no room when they are to be on disk."""

    @contextmanager
    def full(after: int = 0) -> Iterator[None]:
        synced = []

        def fsync(handle: int) -> None:
            synced.append(handle)
            if len(synced) > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fsync)
            yield

    return full


def run_until_killed(script: str, *arguments: Any) -> None:
    """Run Python in a process that kills itself: `die()` in the script does, so that nothing is cleaned up."""
    prelude = "import os, sys\nfrom pathlib import Path\ndef die(*_, **__): os.kill(os.getpid(), 9)\n"
    ran = subprocess.run(
        [sys.executable, "-c", prelude + script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
