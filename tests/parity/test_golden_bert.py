"""`bert` against RouteLLM's win rates: exported from its checkpoint, served, and asked over a real channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("transformers", reason="the extra `export` is not installed")

from tests.support.golden import check_text_router


@pytest.mark.shared
def test_served_win_rates_are_routellms(shared_dir: Path, tmp_path: Path, start_service: Callable[..., Any]) -> None:
    check_text_router("bert", shared_dir, tmp_path, start_service)
