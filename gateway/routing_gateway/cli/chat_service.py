"""What `chat` starts and stops: the decision service as a process of its own, and the signals that stop all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

HOST = "127.0.0.1"
POLL_SECONDS = 0.05
STOP_SECONDS = 15.0
ERROR_PREFIX = "routing-service: error: "


class ChatError(Exception):
    """The chat cannot start, or a part of it has ended. The message says what to do.

    Attributes:
        exit_code: what the command ends with.
    """

    exit_code = 1


class DecisionService:
    """A process that serves decisions; when it ends before it is told to, this process gets a SIGTERM."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.address = address
        self.lost: int | None = None  # its exit code
        self._is_end_expected = False
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def expect_the_end(self) -> None:
        """From now on its end is nothing to speak of: whoever stops this process may have stopped that one too."""
        self._is_end_expected = True

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if not self._is_end_expected:
            self.lost = code
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def decision_service(config: Path | None, signals: Signals) -> Iterator[DecisionService]:
    """Run `serve` on a free port of the loopback while the context lasts; it is SERVING when the context begins."""
    process: subprocess.Popen[bytes] | None = None
    service: DecisionService | None = None
    try:
        # Gone as soon as the service is there: nobody could remove it after SIGKILL.
        with tempfile.TemporaryDirectory(prefix="routing-service-chat-") as folder:
            ready, log = Path(folder, "ready"), Path(folder, "log")
            signals.before_end = partial(shutil.rmtree, folder, ignore_errors=True)
            command = [sys.executable, "-m", "routing_service.tether", "serve", "--workers", "1"]
            command += ["--address", f"{HOST}:0", "--ready-file", str(ready)]
            if config is not None:
                command += ["--config", str(config)]
            with log.open("wb") as errors, signals.held():
                # A group of its own: Ctrl-C in a terminal reaches this process only, which then stops the service.
                process = subprocess.Popen(  # noqa: S603 - ours
                    command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, start_new_session=True
                )
            while not ready.exists():
                if process.poll() is not None:
                    raise ChatError(f"the decision service did not start: {_complaint(log)}")
                time.sleep(POLL_SECONDS)
            service = DecisionService(process, ready.read_text(encoding="utf-8").strip())
        yield service
    finally:
        signals.end()
        if service is not None:
            service.expect_the_end()
        elif process is not None:
            process.kill()  # there is nothing to finish, and its load may hang
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _complaint(log: Path) -> str:
    """What a service that did not start said about it."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.removeprefix(ERROR_PREFIX) for line in lines if line.startswith(ERROR_PREFIX)]
    return said[-1] if said else "\n".join(lines) or "it said nothing"


class Stop(BaseException):
    """A signal asks to stop."""


class Signals:
    """While the context lasts, the first SIGINT or SIGTERM raises `Stop` in the main thread; another ends the process.

    While uvicorn runs it takes both itself, lets answers finish, and then sends on what has come. SIGHUP ends nothing.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._is_ending = self._held = self._missed = False
        self.before_end: Callable[[], object] = lambda: None
        """Called before the process is ended at once."""

    def __enter__(self) -> Self:
        handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop, signal.SIGHUP: lambda *_: None}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes meanwhile is answered at the end: a process half started could not be stopped."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._missed:
            self.end()
            raise Stop

    def end(self) -> None:
        """From now on nothing is raised: all is being stopped, which a signal can only cut short."""
        self._is_ending = True

    def _stop(self, number: int, _frame: object) -> None:
        if self._is_ending or self._missed:
            self.before_end()
            os._exit(128 + number)
        if self._held:
            self._missed = True
        else:
            self.end()
            raise Stop
