"""What SIGTERM, SIGINT and SIGHUP do to a serving process and to the supervisor of several."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, Self

import structlog

log = structlog.get_logger(__name__)

Hook = Callable[[], object]
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _do_nothing() -> None:
    pass


class Stopping:
    """While the context lasts, the first SIGTERM or SIGINT asks the process to stop, and another ends it at once.

    Before `begin` there is nothing to finish, and the first one ends it too. SIGHUP ends nothing, whoever started the
    process and however: it is logged. All this is so in the background too, where a shell has SIGINT ignored.

    The handlers only note what has come: one that logged could interrupt a line half-way.

    Args:
        is_worker: nothing but its supervisor ends it at once. Service managers send SIGTERM to every process of a
            service, so that a worker gets one from them and one from its supervisor.
    """

    def __init__(self, *, is_worker: bool = False) -> None:
        self._is_worker = is_worker
        self._has_begun = self._hung_up = self._is_told = False
        self._wake: Hook = _do_nothing
        self._before_end: Hook = _do_nothing
        self._before: dict[signal.Signals, Any] = {}
        self.is_asked = False
        """Whether the process is to stop."""

    def __enter__(self) -> Self:
        handlers = {**dict.fromkeys(_STOP_SIGNALS, self._on_stop), signal.SIGHUP: self._on_hang_up}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, *, wake: Hook = _do_nothing, before_end: Hook = _do_nothing) -> None:
        """From now on the first signal only asks.

        Args:
            wake: called whenever a signal has come, in the main thread.
            before_end: called before the process is ended at once.
        """
        self._wake, self._before_end = wake, before_end
        self._has_begun = True

    def log_hang_up(self) -> None:
        """Log a SIGHUP that has come, the first time."""
        if self._hung_up and not self._is_told:
            self._is_told = True
            log.info("hang_up_ignored", why="SIGHUP changes nothing; to read a new configuration, restart the service")

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if not self._has_begun:
            end_at_once(0)
        if self.is_asked and not self._is_worker:
            self._before_end()
            end_at_once(128 + number)
        self.is_asked = True
        self._wake()

    def _on_hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._hung_up = True
        self._wake()


async def asked(stopping: Stopping) -> None:
    """Wait until the process is to stop."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    stopping.begin(wake=lambda: loop.call_soon_threadsafe(woken.set))
    while True:
        stopping.log_hang_up()
        if stopping.is_asked:
            return
        await woken.wait()
        woken.clear()


def end_without_threads() -> None:
    """End the process here, with 0, if Python's own end would wait for a thread that may hang, such as a router's."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        end_at_once(0)


def end_at_once(code: int) -> NoReturn:
    """End the process without waiting for anything: threads that cannot be ended, calls, Python's own end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    os._exit(code)
