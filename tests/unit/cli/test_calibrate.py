"""`routing-service calibrate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from routing_service.artifacts.loading import open_artifact
from routing_service.calibration.thresholds import share_at, threshold_for_share
from tests.support.cli import PROMPTS, Run, complaint


def test_calibrate_reads_the_router_s_own_table(run: Run, config: Path) -> None:
    ran = run("calibrate", "--router", "static", "--strong-model-pct", "0.5", "0.25", "--config", config)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "For 50.0% strong model calls for static, threshold = 0.5\n"
        "For 25.0% strong model calls for static, threshold = 0.7\n"
    )


@pytest.mark.parametrize("share", ["0.07", "0.29", "0.55", "0.57", "0.123"])
def test_calibrate_writes_percentages_as_people_do(run: Run, config: Path, share: str) -> None:
    ran = run("calibrate", "--strong-model-pct", share, "--config", config)
    percent = {"0.123": "12.3"}.get(share, f"{int(share[2:])}.0")
    assert ran.out.startswith(f"For {percent}% strong model calls for static, threshold = ")


def test_calibrate_rounds_to_five_decimals(run: Run, config: Path) -> None:
    assert run("calibrate", "--strong-model-pct", "0.3333", "--config", config).out.endswith("threshold = 0.63336\n")


def test_calibrate_as_json(run: Run, config: Path, static_artifact: Path) -> None:
    manifest = open_artifact(static_artifact, "static").manifest
    assert manifest.calibration is not None
    ran = run("calibrate", "--strong-model-pct", "0.2", "--config", config, "--json")
    assert json.loads(ran.out) == {
        "router": "static",
        "router_revision": manifest.revision,
        "source": "a test",
        "sample_size": 5,
        "points": [{"strong_share": 0.2, "threshold": threshold_for_share(manifest.calibration.quantiles, 0.2)}],
    }


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "txt"])
def test_calibrate_on_prompts_of_one_s_own(
    run: Run, tmp_path: Path, config: Path, prompts: Path, rates: list[float], suffix: str
) -> None:
    path = prompts
    if suffix != "jsonl":
        path = tmp_path / f"prompts.{suffix}"
        lines = [f'"{prompt}"' for prompt in PROMPTS] if suffix == "csv" else PROMPTS
        path.write_text("\n".join((["prompt"] if suffix == "csv" else []) + lines), "utf-8")
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", path, "--config", config, "--json")
    answer = json.loads(ran.out)
    assert (answer["source"], answer["sample_size"]) == (str(path), 5)
    (point,) = answer["points"]
    assert point["realised_share"] == pytest.approx(0.4)
    assert share_at(rates, point["threshold"]) == pytest.approx(0.4)


def test_calibrate_notes_a_share_that_equal_scores_make_impossible(run: Run, tmp_path: Path, config: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text("hello\n" * 10)
    ran = run("calibrate", "--strong-model-pct", "0.3", "--input", path, "--config", config)
    assert ran.code == 0
    assert ran.out == "For 30.0% strong model calls for static, threshold = 1.0\n"
    assert "note: the closest that this sample allows is 0.0%" in ran.err


def test_calibrate_tells_an_unknown_router(run: Run, config: Path) -> None:
    err = complaint(run("calibrate", "--router", "sttic", "--strong-model-pct", "0.5", "--config", config))
    assert "no router is named 'sttic'; did you mean 'static'?" in err


def test_calibrate_tells_a_router_without_a_table(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path]
) -> None:
    build_artifact(tmp_path / "bare", calibration=None)
    (tmp_path / "c.yaml").write_text("routers: {bare: {type: static, artifact: bare}}")
    err = complaint(run("calibrate", "--strong-model-pct", "0.5", "--config", tmp_path / "c.yaml"))
    assert "router 'bare' has no calibration table; give prompts of your own with --input" in err


def test_calibrate_tells_a_file_without_prompts(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    ran = run("calibrate", "--strong-model-pct", "0.5", "--input", tmp_path / "empty.txt", "--config", config)
    assert f"{tmp_path / 'empty.txt'}: has no prompts; calibrating needs at least one" in complaint(ran)
