"""What a machine may lack: the data folder, and what is skipped for want of something, which in CI is a fault."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A skip whose reason begins so is right even in CI: what it needs cannot be had there.
EXCUSED = "not here: "


def skips_fail() -> bool:
    """Whether a skipped test is a fault: `.ci/run` provides all that a test may ask for, and says so."""
    return os.environ.get("ROUTING_CI") == "1"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of data that is not part of the repository: `$ROUTING_SHARED`, or `shared` beside the checkout."""
    path = Path(os.environ.get("ROUTING_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"the data folder {path} is missing; set ROUTING_SHARED to where it is")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn a skipped test into a failed one."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, turn a skipped module into a failed one."""
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (skips_fail() and report.outcome == "skipped"):
        return
    # pytest keeps a skip as (path, line, "Skipped: reason").
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = text.removeprefix("Skipped: ")
    if not reason.startswith(EXCUSED):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {reason}"
