"""The tests, and the processes that they start, find the same things however the tests were started."""

from __future__ import annotations

import shlex
import subprocess
import sys

CHILD = """
import os, resource, shutil, signal
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)
print(soft in (hard, resource.RLIM_INFINITY) or soft >= 4096)
print(shutil.get_terminal_size().columns, os.environ.get("FORCE_COLOR"), oct(os.umask(0)))
"""


def test_what_a_child_finds() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert child.stdout == "True True\nTrue\n80 None 0o22\n"


def test_it_is_the_same_however_the_tests_are_started() -> None:
    """In the background, for the user alone, with few files, on a narrow terminal that wants colours."""
    name = f"{__file__}::{test_what_a_child_finds.__name__}"
    tests = shlex.join([sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", name])
    command = f"trap '' INT HUP; umask 077; ulimit -S -n 256; export COLUMNS=40 FORCE_COLOR=1; exec {tests}"
    ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
