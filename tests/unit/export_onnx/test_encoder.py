"""`export-onnx encoder` and the `onnx` embedder that serves what it makes."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("transformers", reason="the extra `export` is not installed")

from hypothesis import given
from hypothesis import strategies as st

from export_onnx import encoder
from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.manifest import Manifest, file_entry, read_manifest
from routing_service.config import parse_config
from routing_service.embedders.onnx import OnnxEmbedder
from routing_service.embedders.registry import Embedders
from routing_service.errors import ArtifactError, ConfigError, UsageError
from routing_service.routers.mf import MatrixFactorizationRouter
from tests.support.encoder import write_encoder
from tests.support.mf import export as export_mf
from tests.support.mf import write_checkpoint

TEXTS = ["hi", "the quick brown fox", "Café? 中文!", "x" * 500, "a, b; c. " * 40, " \t\n"]


def export(checkpoint: Path, output: Path, quantize: str | None = None) -> str:
    return encoder.run(argparse.Namespace(checkpoint=str(checkpoint), output=output, quantize=quantize))


def by_hand(checkpoint: Path, text: str, max_tokens: int, pooling: str, normalize: bool) -> np.ndarray[Any, Any]:
    """The vector as sentence-transformers makes it, by torch."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(str(checkpoint))(
        text, return_tensors="pt", truncation=True, max_length=max_tokens
    )
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(str(checkpoint)).eval()(**tokens).last_hidden_state[0].numpy()
    vector: np.ndarray[Any, Any] = hidden[0] if pooling == "cls_token" else hidden.mean(axis=0)
    return vector / np.linalg.norm(vector) if normalize else vector


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "checkpoint")


@pytest.fixture(scope="module")
def folder(checkpoint: Path) -> Path:
    export(checkpoint, checkpoint.with_name("artifact"))
    return checkpoint.with_name("artifact")


@pytest.fixture(scope="module")
def embedder(folder: Path) -> OnnxEmbedder:
    return OnnxEmbedder(open_artifact(folder, "encoder"))


@pytest.mark.parametrize(("pooling", "normalize"), [("mean_tokens", True), ("cls_token", False)])
def test_vectors_are_the_source_model_s(tmp_path: Path, pooling: str, normalize: bool) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint", pooling=pooling, normalize=normalize)
    assert "least cosine 1.000000" in export(checkpoint, tmp_path / "artifact")
    vectors = OnnxEmbedder(open_artifact(tmp_path / "artifact", "encoder")).embed(TEXTS).vectors
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert vector == pytest.approx(by_hand(checkpoint, text, 24, pooling, normalize), abs=1e-4)
    if normalize:
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("quantize", ["fp16", "int8"])
def test_smaller_precisions_stay_close(checkpoint: Path, tmp_path: Path, quantize: str, embedder: OnnxEmbedder) -> None:
    export(checkpoint, tmp_path / "artifact", quantize)
    small = OnnxEmbedder(open_artifact(tmp_path / "artifact", "encoder"))
    cosines = (small.embed(TEXTS).vectors * embedder.embed(TEXTS).vectors).sum(axis=1)
    assert cosines.min() > encoder.MIN_COSINE[quantize]  # type: ignore[index] # one of its keys, as text


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_a_vector_does_not_depend_on_its_batch(checkpoint: Path, tmp_path: Path, quantize: str | None) -> None:
    export(checkpoint, tmp_path / "artifact", quantize)
    tested = OnnxEmbedder(open_artifact(tmp_path / "artifact", "encoder"))
    single = np.concatenate([tested.embed([text]).vectors for text in TEXTS])
    assert tested.embed(TEXTS).vectors == pytest.approx(single, abs=1e-5)


def test_tokens_and_cuts_are_reported(embedder: OnnxEmbedder) -> None:
    result = embedder.embed(["the quick", "the " * 22, "the " * 23])
    assert result.tokens == [4, 24, 24]
    assert result.truncated == [False, False, True]
    assert (embedder.dimension, embedder.max_tokens, embedder.model) == (32, 24, "checkpoint")


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_any_text_gets_a_finite_vector(embedder: OnnxEmbedder, texts: list[str]) -> None:
    vectors = embedder.embed(texts).vectors
    assert vectors.shape == (len(texts), 32)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def test_the_manifest_says_where_it_comes_from(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.provenance["checkpoint"] == "checkpoint"
    assert manifest.provenance["pooling"] == "mean"
    assert manifest.provenance["parity"]["min_cosine"] > 0.99999
    assert set(manifest.provenance["checkpoint_sha256"]) >= {"config.json", "model.safetensors", "modules.json"}
    assert str(folder.parent) not in (folder / "manifest.json").read_text()


def test_the_same_checkpoint_gives_the_same_artifact(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


def test_mf_scores_with_a_local_encoder(folder: Path, embedder: OnnxEmbedder, tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / "mf", text_dim=32)
    export_mf(weights, tmp_path / "router", strong_model="big", weak_model="small", embedding_model="checkpoint")
    router = MatrixFactorizationRouter(open_artifact(tmp_path / "router", "mf"), embedder)
    scores = router.score(TEXTS, router.models)
    assert scores.strong_win_rates == router.win_rates(embedder.embed(TEXTS).vectors, router.models).tolist()
    assert (router.concurrency, router.max_tokens) == (1, 24)
    assert scores.truncated[3:5] == [False, True]


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("modules.json", lambda _: [], "modules.json"),
        ("modules.json", lambda m: [m[0]], "Transformer"),
        ("modules.json", lambda m: [*m[:2], {"type": "a.b.Dense", "path": "2_Dense"}], "Dense"),
        ("modules.json", lambda m: [{**m[0], "path": "0_Transformer"}, *m[1:]], "in the folder itself"),
        ("1_Pooling/config.json", lambda c: {**c, "pooling_mode_max_tokens": True}, "pools by"),
        ("1_Pooling/config.json", lambda c: {**c, "pooling_mode_mean_tokens": False}, "pools by"),
        ("sentence_bert_config.json", lambda c: {**c, "do_lower_case": True}, "do_lower_case"),
        ("sentence_bert_config.json", lambda c: {**c, "max_seq_length": "24"}, "max_seq_length"),
        ("config.json", lambda c: {**c, "model_type": "mpnet"}, "'mpnet'"),
        ("config.json", lambda c: {**c, "intermediate_size": 65}, "instead of"),
        ("config.json", lambda c: {**c, "vocab_size": 20}, "instead of"),
    ],
)
def test_what_the_graph_does_not_have_is_refused(
    tmp_path: Path, file: str, change: Callable[[Any], Any], says: str
) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint")
    change_json(checkpoint / file, change)
    with pytest.raises(UsageError) as caught:
        export(checkpoint, tmp_path / "artifact")
    assert says in str(caught.value)
    assert not (tmp_path / "artifact").exists()


def test_a_default_prompt_is_refused(tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint")
    (checkpoint / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    with pytest.raises(UsageError, match="prompt"):
        export(checkpoint, tmp_path / "artifact")


@pytest.mark.parametrize("missing", ["modules.json", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint")
    (checkpoint / missing).unlink()
    with pytest.raises(UsageError, match="tokenizer" if missing == "tokenizer.json" else missing):
        export(checkpoint, tmp_path / "artifact")


def test_vectors_that_deviate_are_not_written(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = encoder.source_vectors
    monkeypatch.setattr(encoder, "source_vectors", lambda *arguments: right(*arguments)[:, ::-1])
    with pytest.raises(UsageError, match="least cosine"):
        export(checkpoint, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def rewrite(folder: Path, target: Path, name: str, content: bytes, **options: Any) -> Path:
    target.mkdir()
    old = read_manifest(folder)
    for each in old.files:
        (target / each).write_bytes(content if each == name else (folder / each).read_bytes())
    kept = {field: getattr(old, field) for field in ("type", "models", "max_tokens", "license", "self_test")}
    files = {each: file_entry(target / each) for each in old.files}
    manifest = Manifest(**kept, files=files, options={**old.options, **options})
    (target / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return target


def npy(array: np.ndarray[Any, Any], path: Path) -> bytes:
    np.save(path, array)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("model.onnx", b"nonsense", {}, "cannot be loaded"),
        ("tokenizer.json", b"{}", {}, "is not a tokenizer.json"),
        ("self_test_embeddings.npy", pickle.dumps([1]), {}, "is not a NumPy array file"),
        ("self_test_embeddings.npy", None, {}, "fails its self-test"),
        ("", b"", {"dimension": 31}, "(8, 32), not float32 of shape (8, 31)"),
        ("", b"", {"self_test_texts": []}, "self_test_texts must not be empty"),
        ("", b"", {"truncation_side": "top"}, "truncation_side"),
        ("", b"", {"pad_token_id": -1}, "pad_token_id"),
        ("", b"", {"novel": 1}, "novel"),
    ],
)
def test_an_artifact_that_does_not_work_is_refused(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, options: dict[str, Any], says: str
) -> None:
    if content is None:
        content = npy(np.load(folder / name) + np.float32(1e-3), tmp_path / "changed.npy")
    with pytest.raises(ArtifactError) as caught:
        OnnxEmbedder(open_artifact(rewrite(folder, tmp_path / "broken", name, content, **options), "encoder"))
    assert says in str(caught.value)


def test_it_is_built_from_a_configuration(folder: Path) -> None:
    text = f'embedders:\n  e: {{type: onnx, artifact: "{folder.name}", threads: 1}}'
    config = parse_config(text, "test", folder.parent)
    built = Embedders(config).for_section(config.embedders["e"].section)("e")
    assert built.dimension == 32
    for options, says in (("{type: onnx}", "artifact"), ("{type: onnx, artifact: x, thread: 1}", "'threads'")):
        wrong = parse_config(f"embedders:\n  e: {options}", "test", folder.parent)
        with pytest.raises(ConfigError, match=says):
            Embedders(wrong).for_section(wrong.embedders["e"].section)("e")
