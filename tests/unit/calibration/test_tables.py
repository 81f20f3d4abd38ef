"""Tables of one's own: written, read, refused, and put in force by the configuration."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.tables import SavedTable, read_table, table_for, write_table
from routing_service.config import load_config
from routing_service.engine.build import build_engine
from routing_service.engine.types import RouteRequest
from routing_service.errors import ArtifactError, ConfigError, UsageError
from routing_service.models import ModelPair

PAIR = ModelPair("big", "small")
TABLE = SavedTable("static", "r1", PAIR, CalibrationTable("last week's prompts, é", 9, (0.25, 0.5, 0.625)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    write_table(path, TABLE)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    assert read_table(path) == TABLE
    assert table_for(path, "mine", "static", "r1", PAIR.__eq__) == TABLE.calibration


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quantiles": [0.5, 0.25]}, "ascending"),
        ({"quantiles": [0.5, float("nan")]}, "NaN is no number"),
        ({"quantiles": [0.5]}, "at least two"),
        ({"quantiles": [0.5, None]}, "list of numbers"),
        ({"quantiles": [True, False]}, "list of numbers"),
        ({"quantiles": "0.5"}, "list of numbers"),
        ({"quantiles": [0.5] * 100_002}, "more than 100,001"),
        ({"sample_size": -1}, "whole number"),
        ({"sample_size": 1.5}, "whole number"),
        ({"router_revision": None}, "must be text"),
        ({"schema_version": 2}, "reads 1"),
        ({"source": ...}, "lacks 'source'"),
        ({"models": ...}, "lacks 'models'"),
        ({"models": ["big", "small"]}, "names of the strong and the weak"),
        ({"models": {"strong": "big"}}, "names of the strong and the weak"),
        ({"models": {"strong": "big", "weak": 1}}, "names of the strong and the weak"),
        ({"models": {"strong": "big", "weak": "big"}}, "both 'big'"),
    ],
)
def test_what_is_no_table_is_refused(path: Path, change: dict[str, Any], says: str) -> None:
    document = {**json.loads(path.read_text("utf-8")), **change}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
    with pytest.raises(ArtifactError) as caught:
        read_table(path)
    assert says in str(caught.value)
    assert "calibrate --output" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"), [(b"[]", "an object"), (b"{", "not a calibration"), (b"\xff", "cannot be")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ArtifactError, match=says):
        read_table(tmp_path / "f")
    with pytest.raises(ArtifactError, match="is missing"):
        read_table(tmp_path / "none")


@pytest.mark.parametrize(("kind", "revision"), [("static", "r2"), ("bert", "r1")])
def test_another_router_s_table_is_refused_with_what_to_do(path: Path, kind: str, revision: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        table_for(path, "mine", kind, revision, PAIR.__eq__)
    for part in ("'r1'", f"'{revision}'", "--router mine --input PROMPTS --output table.json"):
        assert part in str(caught.value)


def test_another_pair_s_table_is_refused_with_what_to_do(path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        table_for(path, "mine", "static", "r1", ModelPair("big", "tiny").__eq__)
    for part in ("'big' and 'small'", "'mine'", "--router mine --input PROMPTS --output table.json"):
        assert part in str(caught.value)


def test_a_full_disk_leaves_the_old_table(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr("routing_service.files.os.fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_table(path, SavedTable("static", "r2", PAIR, TABLE.calibration))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["table.json"]


# --- in force -----------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path, static_artifact: Path) -> Callable[[SavedTable], Path]:
    """A configuration whose router takes its table from a file."""

    def make(table: SavedTable) -> Path:
        write_table(tmp_path / "own.json", table)
        (tmp_path / "routing.yaml").write_text(
            f"routers:\n  mine: {{type: static, artifact: '{static_artifact}', calibration: own.json}}\n"
            "policies: {cheap: {strong_share: 0.25}}\n"
        )
        return tmp_path / "routing.yaml"

    return make


def own_revision(artifact: Path) -> str:
    return str(json.loads((artifact / "manifest.json").read_text("utf-8"))["revision"])


def test_a_configured_table_is_what_shares_and_policies_go_by(
    configured: Callable[[SavedTable], Path], static_artifact: Path
) -> None:
    table = SavedTable("static", own_revision(static_artifact), PAIR, CalibrationTable("mine", 9, (0.0, 0.125)))
    engine = build_engine(load_config(configured(table)))
    planner = engine.planner
    assert engine.routers["mine"].calibration == table.calibration
    assert planner.plan(RouteRequest("x", strong_share=0.5)).threshold == 0.0625
    assert planner.plan(RouteRequest("x", policy="cheap")).threshold == 0.09375
    assert planner.plan(RouteRequest("x")).threshold == 0.0625
    engine.close()


def test_a_stale_table_is_refused_at_the_line_that_names_it(configured: Callable[[SavedTable], Path]) -> None:
    path = configured(TABLE)
    with pytest.raises(ConfigError) as caught:
        build_engine(load_config(path))
    assert str(caught.value).startswith(f"{path}:2: routers.mine.calibration: ")
    assert "make a new one" in str(caught.value)
