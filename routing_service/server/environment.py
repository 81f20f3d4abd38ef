"""What must hold of the installation before serving."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from routing_service.errors import ServerError


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
