"""What every test may use, here and in the folders of the lab, the gateway and the clients."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator

import pytest
import structlog

OPEN_FILES = 4096

# Every test process computes on one core, as do the services that it starts: the matrices here are too small to share
# out, and threads that wait for a busy core cost more than the work. Set before anything imports NumPy.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# What others may read of a file that a test or its process writes.
os.umask(0o022)

# Help and errors are broken into lines of the terminal's width, and coloured where that is asked for.
os.environ["COLUMNS"] = "80"
for _variable in ("FORCE_COLOR", "PYTHON_COLORS", "CLICOLOR_FORCE"):
    os.environ.pop(_variable, None)

# Background jobs of a script start with SIGINT ignored, those of `nohup` with SIGHUP, and children inherit that: tests
# would then fail that send these signals. A handler that does nothing is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# The tests' own channels and HTTP clients call the loopback, and gRPC's would go through a proxy even there. What our
# programs do behind one is tested with variables that the tests set.
_exempt = ",".join(filter(None, [os.environ.get("no_proxy", os.environ.get("NO_PROXY", "")), "127.0.0.1", "localhost"]))
os.environ.update(no_proxy=_exempt, NO_PROXY=_exempt)

# Some systems let a program open only 256 files unless it asks for more, and tests open hundreds of connections.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if _soft != resource.RLIM_INFINITY and _soft < OPEN_FILES:
    _wanted = OPEN_FILES if _hard == resource.RLIM_INFINITY else min(OPEN_FILES, _hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, _wanted), _hard))

pytest_plugins = [
    "tests.support.certificates",
    "tests.support.disks",
    "tests.support.services",
    "tests.support.skips",
    "tests.support.static_artifact",
]


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    """Undo what a test's commands set up for the logs of the whole process.

    They log at that test's level to its standard error, so the next test would log to a closed file, or not at all.
    """
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
