"""`python -m routing_service.tether COMMAND …`: runs a command that ends when the process that started it ends.

Standard input is a pipe or a socket, and the starter alone has its other end. The system closes that when the starter
ends, even after SIGKILL, and so the end cannot be missed, not even before this module runs. Nothing large is imported
before a thread waits for it. On Linux the system also kills this process itself, which helps where code in C keeps that
thread from running.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from contextlib import suppress

_READY = b"ready\n"
_PR_SET_PDEATHSIG = 1


class Tether:
    """What ties this process to its starter, if anything does."""

    def __init__(self) -> None:
        self.is_cut = False
        """Whether the starter has ended."""
        self._is_tied = False
        # How long this process may go on after its starter. Until it serves there is nothing to finish.
        self._seconds_left = 0.0

    def tie(self) -> None:
        """From now on the starter's end is this process's end, at once."""
        self._is_tied = True
        _signal_at_the_starters_end(signal.SIGKILL)
        threading.Thread(target=self._wait, name="tether", daemon=True).start()

    def loosen(self, seconds: float) -> None:
        """After the starter's end this process gets a SIGTERM, and may take some seconds to finish its calls."""
        if self._is_tied:
            self._seconds_left = seconds
            _signal_at_the_starters_end(0)

    def tell_ready(self) -> None:
        """Tell the starter, by the socket that is standard input, that this process is ready."""
        if self._is_tied:
            os.write(0, _READY)

    def _wait(self) -> None:
        with suppress(OSError):  # the starter ended with something unread
            while os.read(0, 4096):
                pass
        self.is_cut = True
        if self._seconds_left:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(self._seconds_left)
        os._exit(1)


tether = Tether()


def main() -> None:
    """Run the command, tied. It ends the process, as a module that is run does."""
    # Until the command says what SIGHUP is to do. Unlike SIG_IGN this is not inherited.
    signal.signal(signal.SIGHUP, lambda *_: None)
    tether.tie()
    runpy.run_module("routing_service", run_name="__main__")


def _signal_at_the_starters_end(number: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


if __name__ == "__main__":
    # The command imports this module, and not `__main__`.
    from routing_service.tether import main as run_tied

    run_tied()
