"""`routing-service check-config`, and configurations that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from routing_service.artifacts.loading import open_artifact
from tests.support.cli import Run, complaint


def test_check_config_lists_what_it_found(run: Run, config: Path, static_artifact: Path) -> None:
    ran = run("check-config", config)
    revision = open_artifact(static_artifact, "static").manifest.revision
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert f"router static: static, revision {revision}, big / small, default" in lines
    assert any(line.startswith("router odds: random, revision ") for line in lines)
    assert "policy cheap: router static, threshold 0.70000" in lines
    assert "policy even: router odds, threshold 0.50000" in lines
    assert lines[-1] == f"{config} is valid"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("serverr: {}\n", "c.yaml:1: serverr: is not a known key; did you mean 'server'?"),
        ("routers:\n  a:\n    type: rndom\n", "c.yaml:3: routers.a.type: no router type is named 'rndom'"),
        ("routers:\n  a:\n    type: random\n    sede: 1\n", "c.yaml:4: routers.a.sede: is not a known key"),
        ("routers: {a: {type: static, artifact: nowhere}}\n", "nowhere/manifest.json is missing"),
        (
            "asks:\n  rules:\n    - {name: one, pattern: a, tier: weak}\n    - {name: two, pattern: '[', tier: weak}\n",
            "c.yaml:4: asks.rules[1].pattern: (rule 'two') ",
        ),
        ("asks: {strip: nothing}\n", "c.yaml:1: asks.strip: must be one of default, none"),
        ("asks: {wrappers: [<a>]}\n", "c.yaml:1: asks: wrappers: '<a>' is no name of a tag"),
        ("a: [\n", "c.yaml:2: is not valid YAML"),
        ("a: \x00\n", "c.yaml:1: is not valid YAML"),
        ("server: {workers: !!int ''}\n", "c.yaml:1: server.workers: "),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert problem in complaint(run("check-config", tmp_path / "c.yaml"))


def test_check_config_tells_a_missing_file(run: Run, tmp_path: Path) -> None:
    assert "c.yaml: cannot be read: No such file or directory" in complaint(run("check-config", tmp_path / "c.yaml"))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_check_config_tells_a_corrupt_artifact_by_its_file(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path], name: str
) -> None:
    path = build_artifact(tmp_path / "mine") / name
    path.write_bytes(path.read_bytes().replace(b"o", b"0", 1))
    (tmp_path / "c.yaml").write_text("routers: {mine: {type: static, artifact: mine}}")
    assert str(path) in complaint(run("check-config", tmp_path / "c.yaml"))


def test_a_policy_that_needs_a_missing_table_is_told_with_its_file(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path]
) -> None:
    build_artifact(tmp_path / "bare", calibration=None)
    (tmp_path / "c.yaml").write_text(
        "routers: {bare: {type: static, artifact: bare}}\npolicies:\n  cheap: {strong_share: 0.2}\n"
    )
    err = complaint(run("check-config", tmp_path / "c.yaml"))
    assert "policies.cheap.strong_share: router 'bare' has no calibration table" in err
    assert "c.yaml:3: " in err
