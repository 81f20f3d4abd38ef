from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from routing_service.artifacts.loading import Artifact, open_artifact, self_test
from routing_service.artifacts.manifest import FileEntry, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair


@pytest.fixture
def artifact_folder(tmp_path: Path, static_artifact: Path) -> Path:
    """A copy of the tiny artifact to spoil."""
    return shutil.copytree(static_artifact, tmp_path / "artifact")


def refusal(folder: Path, path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        open_artifact(folder, "static")
    assert caught.value.path == path
    return str(caught.value)


def with_files(folder: Path, files: dict[str, FileEntry]) -> Path:
    manifest = Manifest("static", ModelPair("a", "b"), 8, files, "MIT", SelfTest(0.1, ()))
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder


def test_an_untouched_artifact_opens(static_artifact: Path) -> None:
    artifact = open_artifact(static_artifact, "static")
    assert artifact.folder == static_artifact
    assert artifact.file("model.onnx") == static_artifact / "model.onnx"
    assert artifact.manifest.models == ModelPair("big", "small")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_any_changed_byte_of_a_file_is_noticed_and_the_file_named(artifact_folder: Path, name: str) -> None:
    path = artifact_folder / name
    raw = path.read_bytes()
    source = random.Random(name)
    for position in [0, len(raw) - 1, *source.sample(range(len(raw)), 40)]:
        edited = bytearray(raw)
        edited[position] ^= 1 << source.randrange(8)
        path.write_bytes(edited)
        assert "is not the file that the manifest describes" in refusal(artifact_folder, path)


@pytest.mark.parametrize("change", [lambda raw: raw + b"\n", lambda raw: raw[:-1], lambda _: b""])
def test_a_longer_or_shorter_file_is_noticed(artifact_folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = artifact_folder / "tokenizer.json"
    path.write_bytes(change(path.read_bytes()))
    message = refusal(artifact_folder, path)
    assert f"{path.stat().st_size} bytes" in message
    assert "restore it" in message


def test_a_missing_file_is_named(artifact_folder: Path) -> None:
    (artifact_folder / "model.onnx").unlink()
    assert "is missing, though the manifest lists it" in refusal(artifact_folder, artifact_folder / "model.onnx")


def test_a_folder_in_a_file_s_place_is_named(artifact_folder: Path) -> None:
    path = artifact_folder / "model.onnx"
    path.unlink()
    path.mkdir()
    assert "is a folder, not a file" in refusal(artifact_folder, path)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert "is missing" in refusal(tmp_path / "nowhere", tmp_path / "nowhere" / "manifest.json")


def test_another_type_of_router_is_told(static_artifact: Path) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.json is of type 'static', not 'mf'"):
        open_artifact(static_artifact, "mf")


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "{absolute}"])
def test_a_file_outside_the_folder_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "artifact"
    outside.write_text("x")
    folder.mkdir()
    with_files(folder, {name.format(absolute=outside): file_entry(outside)})
    assert "is outside the artifact's folder" in refusal(folder, folder / "manifest.json")


def test_a_file_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        open_artifact(with_files(tmp_path, {"a\0b": FileEntry("ab" * 32, 1)}), "static")


def test_a_file_that_the_manifest_does_not_list_is_not_given(tmp_path: Path) -> None:
    artifact = open_artifact(with_files(tmp_path, {}), "static")
    with pytest.raises(ArtifactError, match=r"manifest\.json lists no 'model\.onnx'"):
        artifact.file("model.onnx")


def test_a_file_in_a_folder_of_its_own_is_opened(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "part.bin").write_bytes(b"x")
    artifact = open_artifact(
        with_files(tmp_path, {"./weights/part.bin": file_entry(tmp_path / "weights" / "part.bin")}), "static"
    )
    assert artifact.file("./weights/part.bin").read_bytes() == b"x"


# --- graphs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be loaded: it is empty"),
        (b"no graph", "cannot be loaded: it is no ONNX graph"),
        (b"\x08\x08", r"cannot be loaded by ONNX Runtime \d"),
    ],
)
def test_what_is_no_graph_is_told(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"model\.onnx {problem}"):
        open_session(tmp_path / "model.onnx", SessionConfig())


def test_weights_beside_the_graph_that_the_manifest_does_not_vouch_for_are_refused(tmp_path: Path) -> None:
    """ONNX can keep weights in a file of their own; read unhashed, they would undo the check of the graph."""
    weights = numpy_helper.from_array(np.full(4096, 0.5, np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "weights"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4096])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with_files(tmp_path, {"model.onnx": file_entry(tmp_path / "model.onnx")})

    def load() -> None:
        open_session(open_artifact(tmp_path, "static").file("model.onnx"), SessionConfig())

    with pytest.raises(ArtifactError, match=r"weights\.bin"):
        load()


# --- self-tests ---------------------------------------------------------------------------------------------


class Scorer:
    """Answers 0.25 to everything, unless told otherwise."""

    models = ("a", "b")

    def __init__(self, answer: Callable[[Sequence[str]], Any] = lambda texts: [0.25] * len(texts)) -> None:
        self.calls: list[list[str]] = []
        self._answer = answer

    def score(self, texts: Sequence[str], models: Any) -> Any:
        assert models == self.models
        self.calls.append(list(texts))
        return SimpleNamespace(strong_win_rates=self._answer(texts))


def recorded(*rates: float, tolerance: float = 0.01) -> Artifact:
    vectors = tuple(SelfTestVector(f"secret {index}", rate) for index, rate in enumerate(rates))
    manifest = Manifest("x", ModelPair("a", "b"), 8, {}, "MIT", SelfTest(tolerance, vectors))
    return Artifact(Path("artifact"), manifest)


def test_the_prompts_are_scored_singly_and_as_a_batch() -> None:
    scorer = Scorer()
    self_test(scorer, recorded(0.25, 0.2501))
    assert scorer.calls == [["secret 0"], ["secret 1"], ["secret 0", "secret 1"]]


@pytest.mark.parametrize("rate", [0.2, 0.3])
def test_a_deviation_is_told_by_its_number_without_the_prompt(rate: float) -> None:
    with pytest.raises(ArtifactError, match=rf"vector 1 gives 0\.25, not {rate} \(tolerance 0\.01\)") as caught:
        self_test(Scorer(), recorded(0.25, rate))
    assert "secret" not in str(caught.value)


def test_a_batch_that_differs_from_single_runs_fails() -> None:
    with pytest.raises(ArtifactError, match="vector 0 gives"):
        self_test(Scorer(lambda texts: [0.25 if len(texts) == 1 else 0.5] * len(texts)), recorded(0.25, 0.25))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_fails_whatever_the_tolerance(value: float) -> None:
    with pytest.raises(ArtifactError):
        self_test(Scorer(lambda texts: [value] * len(texts)), recorded(0.25, tolerance=float("inf")))


def test_an_artifact_without_vectors_fails() -> None:
    with pytest.raises(ArtifactError, match="has no self-test vectors"):
        self_test(Scorer(), recorded())


def _raise(texts: Sequence[str]) -> Any:
    raise RuntimeError(f"cannot run {texts}")


@pytest.mark.parametrize(
    "answer",
    [_raise, lambda _: [], lambda texts: [[0.25]] * len(texts), lambda texts: [0.25][: 2 - len(texts)]],
    ids=["raises", "nothing", "lists", "too few in a batch"],
)
def test_a_router_that_cannot_even_answer_fails_its_self_test(answer: Callable[[Sequence[str]], Any]) -> None:
    with pytest.raises(ArtifactError) as caught:
        self_test(Scorer(answer), recorded(0.25, 0.25))
    assert "secret" not in str(caught.value)


def test_the_manifest_of_the_tiny_artifact_lists_every_file(static_artifact: Path) -> None:
    listed = set(json.loads((static_artifact / "manifest.json").read_text())["files"])
    assert {path.name for path in static_artifact.iterdir()} == {"manifest.json", *listed}
