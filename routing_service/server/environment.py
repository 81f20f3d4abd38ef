"""Checks of the installation before serving, and the process's scheduling."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution

import structlog

from routing_service.config import ServerConfig
from routing_service.errors import ServerError

log = structlog.get_logger(__name__)


def check_onnxruntime() -> None:
    """Check that exactly one ONNX Runtime is installed: the CPU and the GPU one write to the same module.

    Raises:
        ServerError: none is, or both are.
    """
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(found) == 2:
        raise ServerError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; run "
            "`pip uninstall -y onnxruntime onnxruntime-gpu` and install the one you want"
        )
    if not found:
        raise ServerError("ONNX Runtime is not installed; run `pip install onnxruntime` (or onnxruntime-gpu)")


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def favour_throughput(config: ServerConfig) -> None:
    """Ask for batch scheduling, if it is wanted and exists. Threads started later inherit it.

    Otherwise gRPC's threads, which wake each other several times for each call, interrupt each other each time.
    `chrt --batch 0 python -m benchmarks.echo_server --ready-file F` shows what it does to a bare server.
    """
    if not config.batch_scheduling or not hasattr(os, "SCHED_BATCH"):
        return
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:
        log.info("batch_scheduling_refused", why=error.strerror)
