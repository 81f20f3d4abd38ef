"""What `serve` says when it cannot start."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from tests.support.cli import Ran, Run, complaint

# The scheduling that serving asks for would stay with the process of the tests.
SERVER = "server: {batch_scheduling: false}"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A copy of the artifact that ships, for spoiling."""
    return Path(shutil.copytree(DEFAULT_ARTIFACT, tmp_path / "artifact"))


def serve(run: Run, artifact: Path) -> Ran:
    path = artifact.parent / "routing.yaml"
    path.write_text(f"{SERVER}\nrouters: {{static: {{type: static, artifact: '{artifact.name}'}}}}")
    return run("serve", "--address", "127.0.0.1:0", "--config", path)


@pytest.mark.parametrize("name", ["model.onnx", "pieces.json", "manifest.json"])
def test_a_spoilt_artifact_is_refused_by_file(run: Run, artifact: Path, name: str) -> None:
    path = artifact / name
    original = path.read_bytes()
    spoilt = {
        "missing": None,
        "cut": original[:-100],
        "one bit": bytes([*original[:-50], original[-50] ^ 1, *original[-49:]]),
        "empty": b"",
    }
    for how, content in spoilt.items():
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        assert str(path) in complaint(serve(run, artifact)), how


def test_an_edited_manifest_is_refused(run: Run, artifact: Path) -> None:
    path = artifact / "manifest.json"
    path.write_text(path.read_text().replace("mixtral", "mistral", 1))
    said = complaint(serve(run, artifact))
    assert str(path) in said
    assert "edited" in said


def test_a_missing_artifact_folder_is_said(run: Run, tmp_path: Path) -> None:
    assert "manifest.json" in complaint(serve(run, tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("servre: {}", "did you mean 'server'"),
        ("server: {adress: 'x:1'}", "did you mean 'address'"),
        ("routers: {static: {type: sttic}}", "did you mean 'static'"),
        ("routers: {static: {type: static, artefact: x}}", "did you mean 'artifact'"),
        ("a: ]", "not valid YAML"),
        ("policies: {cheap: {threshold: 1.5}}", "from 0 to 1"),
    ],
)
def test_a_wrong_configuration_is_said_with_file_and_line(run: Run, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(f"# a comment, so that the fault is on line 2\n{text}\n")
    for ran in (run("serve", "--address", "127.0.0.1:0", "--config", path), run("check-config", path)):
        said = complaint(ran)
        assert f"{path}:2: " in said
        assert says in said


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text(SERVER)
    return path


def test_a_taken_port_is_said(run: Run, config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for more in ([], ["--workers", "2"]):
            said = complaint(run("serve", "--config", config, "--address", address, *more))
            assert address in said
            assert "in use" in said
        said = complaint(run("serve", "--config", config, "--address", "127.0.0.1:0", "--metrics-address", address))
        assert "--metrics-address" in said


def test_a_ready_file_that_cannot_be_written_is_said(run: Run, config: Path, tmp_path: Path) -> None:
    ready = tmp_path / "no" / "f"
    assert "--ready-file" in complaint(
        run("serve", "--config", config, "--address", "127.0.0.1:0", "--ready-file", ready)
    )
