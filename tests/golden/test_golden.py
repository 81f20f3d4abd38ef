"""The decisions of the router that ships, kept as a file: no change goes unnoticed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

HERE = Path(__file__).parent
GOLDEN: dict[str, dict[str, Any]] = json.loads((HERE / "decisions.json").read_text(encoding="utf-8"))


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_script", HERE.parents[1] / "scripts" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def decided(channel: grpc.Channel) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = _script().decisions(channel)
    return found


def test_every_request_is_kept(decided: dict[str, Any]) -> None:
    assert set(decided) == set(GOLDEN)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_decision(decided: dict[str, dict[str, Any]], name: str) -> None:
    got, kept = dict(decided[name]), dict(GOLDEN[name])
    for field in ("strongWinRate", "threshold"):
        assert got.pop(field) == pytest.approx(kept.pop(field), abs=1e-6), field
    assert got == kept
