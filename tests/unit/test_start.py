"""The tests, and the processes that they start, find the same things however the tests were started."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

CHILD = """
import resource, signal
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)
print(soft in (hard, resource.RLIM_INFINITY) or soft >= 4096)
"""


def test_a_child_listens_to_signals_and_may_open_many_files() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert child.stdout == "True True\nTrue\n"


@pytest.mark.parametrize("how", ["trap '' INT HUP", "ulimit -S -n 256"], ids=["in the background", "with few files"])
def test_so_it_does_however_the_tests_are_started(how: str) -> None:
    name = f"{__file__}::{test_a_child_listens_to_signals_and_may_open_many_files.__name__}"
    command = shlex.join([sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", name])
    ran = subprocess.run(["/bin/sh", "-c", f"{how}; exec {command}"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
