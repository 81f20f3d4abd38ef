"""Processes that tests start listen to signals, however the tests themselves were started."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import signal
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)
"""


def test_a_child_listens_to_signals() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert child.stdout == "True True\n"


def test_so_it_does_where_the_tests_run_in_the_background() -> None:
    name = f"{__file__}::{test_a_child_listens_to_signals.__name__}"
    script = f"trap '' INT HUP; exec '{sys.executable}' -m pytest -p no:cacheprovider '{name}'"
    ran = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
