"""Waiting for what another task, thread or process brings about.

The limit ends what hangs and measures nothing: on a busy machine a process may take a minute to start.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 100.0


def eventually(condition: Callable[[], Any], what: str = "the condition holds") -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.005)


async def eventually_async(condition: Callable[[], Any], what: str = "the condition holds") -> None:
    """As `eventually`, while other tasks of the event loop run."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        await asyncio.sleep(0.005)


def address_in(ready_file: Path, process: subprocess.Popen[Any], log: Path | None = None) -> str:
    """The address that a process writes into its ready file once it answers."""

    def written() -> str:
        return ready_file.read_text().strip() if ready_file.exists() else ""

    eventually(lambda: written() or process.poll() is not None, f"{ready_file.name} is written")
    assert written(), f"the process did not start: {log.read_text() if log else process.args!r}"
    return written()
