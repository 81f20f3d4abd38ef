"""`causal_llm` as it is served: batches, long prompts, the cache, artifacts that are not right."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing_service.errors import ArtifactError

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("transformers", reason="the extra `export` is not installed")

from benchmarks.random_checkpoints import prompt_of, write_decoder
from routing_service.artifacts.loading import open_artifact
from routing_service.config import parse_config
from routing_service.embedders.registry import Embedders
from routing_service.models import ModelPair
from routing_service.routers import causal_llm
from routing_service.routers.causal_llm import CausalLLMRouter
from routing_service.routers.registry import build_routers
from tests.support.exporting import export, rewrite_manifest

PROMPTS = [prompt_of(words % 60 + 1, 100 + words) for words in range(40)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Artifacts of weights that rate at once, later and never, in each precision."""
    folder = tmp_path_factory.mktemp("causal_llm")
    checkpoint = write_decoder(folder / "checkpoint", seed=5, rating_scale=2.0)
    options = {"fp32": (), "fp16": ("--quantize", "fp16")}
    return {name: export("causal_llm", checkpoint, folder / name, *more) for name, more in options.items()}


@pytest.fixture
def artifact(exported: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported["fp32"], tmp_path / "artifact"))


def load(folder: Path) -> CausalLLMRouter:
    return CausalLLMRouter(open_artifact(folder, "causal_llm"))


def rates_of(router: CausalLLMRouter, prompts: list[str]) -> np.ndarray[Any, Any]:
    return np.array(router.score(prompts, router.models).strong_win_rates)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_a_batch_gives_what_single_prompts_give(exported: dict[str, Path], precision: str, tolerance: float) -> None:
    router = load(exported[precision])
    alone = np.concatenate([rates_of(router, [prompt]) for prompt in PROMPTS])
    assert np.std(alone) > 1e-3
    np.testing.assert_allclose(rates_of(router, PROMPTS), alone, atol=tolerance)
    np.testing.assert_allclose(rates_of(router, PROMPTS[::-1]), alone[::-1], atol=tolerance)


def test_pieces_give_what_a_whole_run_gives(exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    router = load(exported["fp32"])
    whole = rates_of(router, PROMPTS)
    monkeypatch.setattr(causal_llm, "PIECE_TOKENS", 7)
    np.testing.assert_allclose(rates_of(router, PROMPTS), whole, atol=1e-5)


def test_further_tokens_are_run_only_where_needed(exported: dict[str, Path]) -> None:
    router = load(exported["fp32"])
    runs: list[tuple[int, ...]] = []
    run = router._llm._run

    def recording(ids: Any, mask: Any, cache: Any) -> Any:
        runs.append(ids.shape)
        return run(ids, mask, cache)

    router._llm._run = recording  # type: ignore[method-assign] # to count its calls
    counts = []
    for prompt in PROMPTS:
        runs.clear()
        rate = rates_of(router, [prompt])[0]
        assert all(shape == (1, 1) for shape in runs[1:])
        assert rate == 1.0 or len(runs) <= 6
        counts.append(len(runs))
    assert {1, 6} < set(counts)


def test_long_prompts_keep_their_end(exported: dict[str, Path]) -> None:
    router = load(exported["fp32"])
    long = prompt_of(3000, 1)
    scores = router.score([long, "w1"], router.models)
    assert router.max_tokens == 2048 - 5
    assert list(scores.prompt_tokens or ()) == [2043, 16]
    assert list(scores.truncated) == [True, False]
    # Another start that is cut away, template and all, changes nothing.
    assert rates_of(router, ["w9 w9 " + long]) == pytest.approx(rates_of(router, [long]), abs=1e-6)


def test_it_is_built_from_a_configuration(exported: dict[str, Path], tmp_path: Path) -> None:
    text = f"models: {{strong: big, weak: small}}\nrouters: {{r: {{type: causal_llm, artifact: '{exported['fp32']}'}}}}"
    config = parse_config(text, "test", tmp_path)
    router = build_routers(config, Embedders(config))["r"]
    assert router.models == ModelPair("big", "small")
    assert "gpt-4-1106-preview" in router.strong_names
    assert "mixtral-8x7b-instruct-v0.1" in router.weak_names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be from 1 to 64"),
        ({"max_new_tokens": 10**18}, "max_new_tokens must be from 1 to 64"),
        ({"stop_token_ids": [10**30]}, "stop_token_ids must be from 0 to 4,294,967,295"),
        ({"score_threshold": 6}, "score_threshold must be one of the ratings"),
        ({"rating_token_ids": [1.5]}, "options.rating_token_ids"),
        ({"rating_token_ids": [1, 2, 3, 4, 5]}, "fails its self-test"),
    ],
)
def test_odd_settings_are_refused(artifact: Path, options: dict[str, Any], says: str) -> None:
    rewrite_manifest(artifact, **options)
    with pytest.raises(ArtifactError, match=says):
        load(artifact)


def test_another_template_or_graph_is_refused(artifact: Path, exported: dict[str, Path]) -> None:
    (artifact / "classifier_ft_v5.txt").write_text("w9 w9 {question}")
    with pytest.raises(ArtifactError, match=r"classifier_ft_v5.txt is not the file"):
        load(artifact)
    rewrite_manifest(artifact)
    with pytest.raises(ArtifactError, match="fails its self-test"):
        load(artifact)
    shutil.copy(exported["fp32"] / "classifier_ft_v5.txt", artifact)
    (artifact / "model.onnx").write_bytes(b"no graph")
    rewrite_manifest(artifact)
    with pytest.raises(ArtifactError, match=r"model.onnx cannot be loaded"):
        load(artifact)
