"""A router whose loading stands still until a test lets it go on, as a package that only the test's processes find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.waiting import eventually

CONFIG = "default_policy: half\npolicies: {half: {threshold: 0.5}}\nrouters: {gated: {type: gated}}"
_MODULE = """
import ctypes, os, time
from pathlib import Path

from routing_service.routers.base import Router, Scores

class Gated(Router):
    type = "gated"

    @classmethod
    def build(cls, context):
        gate = Path(os.environ["GATE"])
        (gate / f"loading-{os.getpid()}").touch()
        if (gate / "in-c").exists():
            ctypes.PyDLL(None).sleep(600)  # this keeps the interpreter to itself
        while (gate / "closed").exists():
            time.sleep(0.01)
        return super().build(context)

    def score(self, texts, models):
        if texts[0] == "hang":
            (Path(os.environ["GATE"]) / "scoring").touch()
            time.sleep(600)
        return Scores([0.5] * len(texts), prompt_tokens=None, truncated=[False] * len(texts))
"""


class Gate:
    """Whether routers of type `gated` can be loaded; closed at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.close()

    def close(self) -> None:
        """From now on loading stands still, while Python's other threads run."""
        (self._folder / "closed").touch()

    def close_in_c(self) -> None:
        """From now on loading stands still in C code that keeps the interpreter to itself."""
        (self._folder / "in-c").touch()

    def open(self) -> None:
        """Let loading go on."""
        (self._folder / "closed").unlink()

    def scoring(self) -> None:
        """Returns when the prompt `hang` is being scored, which never ends."""
        eventually((self._folder / "scoring").exists, "the router hangs")

    def loading(self, count: int) -> list[int]:
        """The processes that have come to the gate, once there are so many."""
        eventually(lambda: len(list(self._folder.glob("loading-*"))) >= count, f"{count} processes load")
        return [int(path.name.partition("-")[2]) for path in self._folder.glob("loading-*")]


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The gate of the routers that the test's services load."""
    site, folder = tmp_path / "site", tmp_path / "gate"
    (site / "gated-1.dist-info").mkdir(parents=True)
    folder.mkdir()
    (site / "gated.py").write_text(_MODULE)
    (site / "gated-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: gated\nVersion: 1\n")
    (site / "gated-1.dist-info" / "entry_points.txt").write_text("[routing_service.routers]\ngated = gated:Gated\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("GATE", str(folder))
    return Gate(folder)
