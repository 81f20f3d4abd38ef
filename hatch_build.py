"""Build hook: the wheel's dependencies, with the onnxruntime that `ROUTING_SERVICE_GPU` asks for.

`onnxruntime` and `onnxruntime-gpu` install the same module and exclude each other. An extra can only add a requirement,
never replace one, so the choice is made when the wheel is built: `ROUTING_SERVICE_GPU=1 pip install ./clients/python .`
requires `onnxruntime-gpu`, anything else `onnxruntime`. The list itself is in `pyproject.toml`.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

SWITCH = "ROUTING_SERVICE_GPU"


def dependencies(listed: list[str], switch: str) -> list[str]:
    """`listed` for the CPU, or with onnxruntime's requirement moved to onnxruntime-gpu when `switch` is "1".

    Raises:
        ValueError: `switch` is none of "", "0" and "1".
    """
    if switch not in {"", "0", "1"}:
        raise ValueError(f"{SWITCH} is {switch!r}; set it to 1 for onnxruntime-gpu, or to 0 or nothing for onnxruntime")
    if switch != "1":
        return listed
    return [line.replace("onnxruntime>", "onnxruntime-gpu>") for line in listed]


class OnnxRuntimeHook(MetadataHookInterface):
    """Fills in `project.dependencies`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the `project` table, which it changes in place."""
        metadata["dependencies"] = dependencies(self.config["dependencies"], os.environ.get(SWITCH, ""))
