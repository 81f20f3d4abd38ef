"""`python -m routing_service.cli.tether COMMAND …`: runs a command that ends when the process that started it ends.

The starter has the other end of this process's standard input. The system closes it when the starter ends,
even after SIGKILL, and this cannot be missed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def main() -> int:
    """Run the command. Returns its exit code."""
    from routing_service.cli import main as run

    threading.Thread(target=_end_with_input, daemon=True).start()
    return run(sys.argv[1:])


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
