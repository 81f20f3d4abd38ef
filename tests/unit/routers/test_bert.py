"""`bert` as it is served: configuration, artifacts that are not what they should be, batches, long prompts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("transformers", reason="the extra `export` is not installed")

from benchmarks.random_checkpoints import prompt_of, write_classifier
from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.config import parse_config
from routing_service.embedders.registry import Embedders
from routing_service.errors import ArtifactError, ConfigError
from routing_service.models import ModelPair
from routing_service.routers.bert import BertRouter
from routing_service.routers.registry import build_routers
from tests.support.exporting import export, rewrite_manifest

PROMPTS = [prompt_of(words, seed) for seed, words in enumerate((1, 300, 40, 7, 511, 8, 2000, 41, 1))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same checkpoint's artifact in each precision."""
    folder = tmp_path_factory.mktemp("bert")
    checkpoint = write_classifier(folder / "checkpoint")
    options = {"fp32": (), "int8": ("--quantize", "int8")}
    return {name: export("bert", checkpoint, folder / name, *more) for name, more in options.items()}


@pytest.fixture
def artifact(exported: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported["fp32"], tmp_path / "artifact"))


def rates_of(router: BertRouter, prompts: list[str]) -> np.ndarray[Any, Any]:
    return np.array(router.score(prompts, router.models).strong_win_rates)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_batch_gives_what_single_prompts_give(exported: dict[str, Path], precision: str) -> None:
    router = BertRouter(open_artifact(exported[precision], "bert"))
    alone = np.concatenate([rates_of(router, [prompt]) for prompt in PROMPTS])
    assert np.std(alone) > 1e-3
    np.testing.assert_allclose(rates_of(router, PROMPTS), alone, atol=1e-6)
    np.testing.assert_allclose(rates_of(router, PROMPTS[::-1]), alone[::-1], atol=1e-6)


def test_long_prompts_are_cut_on_the_right(exported: dict[str, Path]) -> None:
    router = BertRouter(open_artifact(exported["fp32"], "bert"))
    scores = router.score(PROMPTS, router.models)
    assert scores.prompt_tokens == [3, 302, 42, 9, 512, 10, 512, 43, 3]
    assert list(scores.truncated) == [False, False, False, False, True, False, True, False, False]
    start = " ".join(PROMPTS[6].split()[:510])
    assert rates_of(router, [PROMPTS[6]]) == rates_of(router, [start])
    assert scores.tokenize_us > 0
    assert scores.inference_us > 0


def test_a_megabyte_is_read_no_further_than_needed(exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    router = BertRouter(open_artifact(exported["fp32"], "bert"))
    page, megabyte = prompt_of(2000, 5), prompt_of(200_000, 5)
    read: list[int] = []
    tokenizer = router._classifier.tokenizer._tokenizer

    class Counting:
        def encode_batch(self, texts: list[str], **options: Any) -> Any:
            read.extend(map(len, texts))
            return tokenizer.encode_batch(texts, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

    monkeypatch.setattr(router._classifier.tokenizer, "_tokenizer", Counting())
    assert len(megabyte) > 800_000
    assert rates_of(router, [megabyte]) == rates_of(router, [page])
    assert max(read) < 10_000


def test_any_string_gets_a_score(exported: dict[str, Path]) -> None:
    router = BertRouter(open_artifact(exported["fp32"], "bert"))
    rates = rates_of(router, ["", "\ud800 lone", "<pad> <s> </s>", "\x00", " \n "])
    assert ((rates >= 0) & (rates <= 1)).all()


def test_it_is_built_from_a_configuration(exported: dict[str, Path], tmp_path: Path) -> None:
    text = f"""
models: {{strong: big, weak: small}}
routers:
  bert: {{type: bert, artifact: '{exported["fp32"]}', threads: 2, graph_optimization: basic}}
default_router: bert
"""
    config = parse_config(text, "test", tmp_path)
    router = build_routers(config, Embedders(config))["bert"]
    assert router.models == ModelPair("big", "small")
    assert router.strong_names == {"big", "gpt-4-1106-preview"}
    assert router.weak_names == {"small", "mixtral-8x7b-instruct-v0.1"}
    assert router.max_tokens == 512


def test_an_artifact_must_be_named(tmp_path: Path) -> None:
    config = parse_config("routers: {bert: {type: bert}}", "test", tmp_path)
    with pytest.raises(ConfigError, match="artifact"):
        build_routers(config, Embedders(config))


def test_odd_settings_are_refused(artifact: Path) -> None:
    rewrite_manifest(artifact, truncation_side="middle")
    with pytest.raises(ArtifactError, match=r"manifest.json .*options.truncation_side"):
        BertRouter(open_artifact(artifact, "bert"))
    rewrite_manifest(artifact, without="truncation_side")
    with pytest.raises(ArtifactError, match="truncation_side"):
        BertRouter(open_artifact(artifact, "bert"))


def test_another_graph_or_tokenizer_is_refused(artifact: Path, exported: dict[str, Path]) -> None:
    (artifact / "model.onnx").write_bytes(b"no graph")
    rewrite_manifest(artifact)
    with pytest.raises(ArtifactError, match=r"model.onnx cannot be loaded"):
        BertRouter(open_artifact(artifact, "bert"))
    (artifact / "model.onnx").write_bytes((exported["fp32"] / "model.onnx").read_bytes())
    tokenizer = json.loads((artifact / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["<unk>"], vocabulary["w7"] = vocabulary["w7"], vocabulary["<unk>"]
    tokenizer["added_tokens"] = []
    (artifact / "tokenizer.json").write_text(json.dumps(tokenizer))
    rewrite_manifest(artifact)
    with pytest.raises(ArtifactError, match="fails its self-test"):
        BertRouter(open_artifact(artifact, "bert"))


def test_a_part_of_the_batch_that_is_long_is_run_apart(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    router = BertRouter(open_artifact(exported["fp32"], "bert"), session=SessionConfig(threads=1))
    shapes: list[tuple[int, ...]] = []
    session = router._classifier._session

    class Recording:
        def run(self, outputs: Any, inputs: dict[str, Any]) -> Any:
            shapes.append(inputs["input_ids"].shape)
            return session.run(outputs, inputs)

    monkeypatch.setattr(router._classifier, "_session", Recording())
    rates_of(router, [*["w1 w2"] * 20, prompt_of(500)])
    assert sorted(shapes) == [(1, 502), (20, 4)]
