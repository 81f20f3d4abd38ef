"""`train causal_llm`: a tiny Llama learns to rate, its artifact is served, adapters merge, faults are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `finetune` is not installed")
pytest.importorskip("transformers", reason="the extra `finetune` is not installed")
pytest.importorskip("onnx", reason="the extra `finetune` is not installed")

import torch
import transformers
from routing_lab.training.finetune.causal_llm import DEFAULT_TEMPLATES, train
from routing_lab.training.finetune.labels import Ties
from routing_lab.training.finetune.rating_model import add_rating_tokens, load_rating_model, merged_model

from benchmarks.random_checkpoints import DECODER_SPECIALS, write_decoder, write_tokenizer
from export_onnx.checkpoint import open_checkpoint
from export_onnx.tokenizer import SourceTokenizer
from routing_service.artifacts.loading import open_artifact
from routing_service.cli import main
from routing_service.errors import UsageError
from routing_service.routers.causal_llm import CausalLLMRouter
from tests.support.exporting import set_json
from tests.support.finetuning import VOCABULARY, decide, prompts, write_rows
from tests.support.finetuning import rating_request as request

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}


def write_llama(folder: Path, *, rows: int = VOCABULARY, **config: Any) -> Path:
    """A small Llama with chance weights, its tokenizer, and neither rating tokens nor templates."""
    torch.manual_seed(3)
    sizes: dict[str, Any] = {**SIZES, "vocab_size": rows, "bos_token_id": 0, "eos_token_id": 1, **config}
    model: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{"tie_word_embeddings": False, **sizes}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.8 / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    roles = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "unk_token": "<|eot_id|>"}
    write_tokenizer(
        folder,
        VOCABULARY,
        DECODER_SPECIALS,
        template="<|begin_of_text|> $A",
        max_length=10**30,
        roles=roles,
    )
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama") / "some-llama")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "own.jsonl")


def load(folder: Path) -> CausalLLMRouter:
    return CausalLLMRouter(open_artifact(folder, "causal_llm"))


def rates(router: CausalLLMRouter, *, hard: bool) -> np.ndarray[Any, Any]:
    return np.array(router.score(prompts(40, hard=hard, seed=9), router.models).strong_win_rates)


def separation(router: CausalLLMRouter) -> float:
    """The share of pairs of new prompts, one hard and one easy, in which the hard one has the higher win rate."""
    return float((rates(router, hard=True)[:, None] > rates(router, hard=False)[None, :]).mean())


@pytest.mark.parametrize(("lora_rank", "tied"), [(0, False), (8, False), (8, True)])
def test_a_rule_is_learnt_and_served(tmp_path: Path, data: Path, lora_rank: int, tied: bool) -> None:
    base = write_llama(tmp_path / "base", tie_word_embeddings=tied)
    # From chance weights a rule is found after a while in which validation gets no better.
    recipe = {"learning_rate": 1e-2, "epochs": 8, "patience": 32}
    report = train(request(base, data, tmp_path / "out", lora_rank=lora_rank, max_tokens=100, **recipe))
    history = report.manifest.metrics["run"]["history"]
    assert history[-1][2] < 0.3 * history[0][2]
    router = load(tmp_path / "out")
    assert router.revision == report.manifest.revision
    assert router.max_tokens == 100
    assert separation(router) > 0.9
    assert rates(router, hard=False).mean() < 0.2
    assert rates(router, hard=True).mean() > 0.8
    # What the manifest says of the model that was trained is true of the artifact.
    validation = report.manifest.metrics["validation"]
    assert validation["apgr"][0] > 0.6
    assert validation["mean_win_rate"] == pytest.approx(validation["mean_outcome"], abs=0.1)


def test_the_manifest_and_the_quantiles_are_those_of_what_is_served(tmp_path: Path, llama: Path, data: Path) -> None:
    train(request(llama, data, tmp_path / "out", quantize="fp16", ties=Ties.HALF, max_tokens=90, epochs=2))
    router = load(tmp_path / "out")
    manifest = open_artifact(tmp_path / "out", "causal_llm").manifest
    assert manifest.options["rating_token_ids"] == list(range(VOCABULARY, VOCABULARY + 5))
    assert (manifest.provenance["precision"], manifest.provenance["ties"]) == ("fp16", "half")
    assert manifest.provenance["base"]["checkpoint"] == "some-llama"
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()
    assert router.calibration is not None
    everything = router.score([json.loads(line)["prompt"] for line in data.read_text().splitlines()], router.models)
    for end in (router.calibration.quantiles[0], router.calibration.quantiles[-1]):
        assert np.abs(np.array(everything.strong_win_rates) - end).min() < 0.02
    for name, text in DEFAULT_TEMPLATES.items():
        assert (tmp_path / "out" / name).read_text(encoding="utf-8") == text
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_an_interrupted_training_ends_with_the_same_artifact(
    tmp_path: Path, llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch, lora_rank: int
) -> None:
    options: dict[str, Any] = {"lora_rank": lora_rank, "max_tokens": 80, "epochs": 1}
    train(request(llama, data, tmp_path / "whole", **options))
    step, done = torch.optim.AdamW.step, iter(range(1, 1000))
    with monkeypatch.context() as patch:

        def counted(self: Any) -> Any:
            if next(done) == 14:
                raise KeyboardInterrupt
            return step(self)

        patch.setattr(torch.optim.AdamW, "step", counted)
        with pytest.raises(KeyboardInterrupt):
            train(request(llama, data, tmp_path / "resumed", **options))
    assert 0 < train(request(llama, data, tmp_path / "resumed", **options)).resumed < 14
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "resumed" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("tied", [False, True])
def test_adapters_and_rating_rows_merge_into_the_very_model_that_was_trained(tmp_path: Path, tied: bool) -> None:
    base = open_checkpoint(str(write_llama(tmp_path / "base", tie_word_embeddings=tied)))
    tokenizer = SourceTokenizer(base, VOCABULARY)
    add_rating_tokens(tokenizer)
    asked = request(base.folder, tmp_path, tmp_path / "out", lora_rank=4)
    rated = load_rating_model(base, tokenizer, asked)
    trained = {name: p for name, p in rated.model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name.endswith("rating_rows") for name in trained)
    assert len(trained) == 2 * 7 * 2 + 1
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ids = torch.randint(5, VOCABULARY, (6, 20))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        before = rated.log_probs(rated.model.eval(), ids, mask)
        model = merged_model(rated, base, tokenizer, asked).eval()
        torch.testing.assert_close(rated.log_probs(model, ids, mask), before, rtol=0, atol=1e-5)
    assert {name for name, _ in model.named_parameters() if "lora" in name or "rating" in name} == set()


def test_padding_changes_nothing(llama: Path, tmp_path: Path) -> None:
    base = open_checkpoint(str(llama))
    tokenizer = SourceTokenizer(base, VOCABULARY)
    add_rating_tokens(tokenizer)
    rated = load_rating_model(base, tokenizer, request(llama, tmp_path, tmp_path / "out"))
    ids = torch.randint(5, VOCABULARY, (1, 9))
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.int64), ids], dim=1)
    mask = (torch.arange(15) >= 6).long().unsqueeze(0)
    alone = rated.log_probs(rated.model.eval(), ids, torch.ones_like(ids))
    together = rated.log_probs(rated.model, padded.repeat(2, 1), torch.cat([mask, torch.ones_like(mask)]))
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-5)
    (-together.sum()).backward()  # type: ignore[no-untyped-call] # torch gives it no types
    assert all(torch.isfinite(p.grad).all() for p in rated.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("rows", [VOCABULARY, VOCABULARY + 40])
def test_new_tokens_begin_as_the_mean_and_a_padded_vocabulary_shrinks(tmp_path: Path, rows: int) -> None:
    base = open_checkpoint(str(write_llama(tmp_path / "base", rows=rows)))
    tokenizer = SourceTokenizer(base, rows)
    add_rating_tokens(tokenizer)
    rated = load_rating_model(base, tokenizer, request(base.folder, tmp_path, tmp_path / "out"))
    assert rated.ids == tuple(range(VOCABULARY, VOCABULARY + 5))
    for layer in (rated.model.get_input_embeddings(), rated.model.get_output_embeddings()):
        assert layer.weight.shape[0] == VOCABULARY + 5
        if rows == VOCABULARY:
            mean = layer.weight[:VOCABULARY].mean(0)
            torch.testing.assert_close(layer.weight[VOCABULARY:], mean.repeat(5, 1))
    assert rated.model.config.vocab_size == VOCABULARY + 5


def test_a_model_whose_first_and_last_layer_are_one_is_trained_whole(tmp_path: Path, data: Path) -> None:
    base = write_llama(tmp_path / "base", tie_word_embeddings=True)
    report = train(request(base, data, tmp_path / "out", max_tokens=90, epochs=2))
    history = report.manifest.metrics["run"]["history"]
    assert history[-1][2] < 0.5 * history[0][2]
    assert load(tmp_path / "out").revision == report.manifest.revision


def test_a_checkpoint_that_rates_already_keeps_its_tokens_and_templates(tmp_path: Path, data: Path) -> None:
    base = write_decoder(tmp_path / "rater")
    train(request(base, data, tmp_path / "out", epochs=1, learning_rate=1e-9))
    manifest = open_artifact(tmp_path / "out", "causal_llm").manifest
    assert manifest.options["rating_token_ids"] == [195, 196, 197, 198, 199]
    assert (tmp_path / "out" / "system_ft_v5.txt").read_text() == "w1 w2 w3 w4\n"
    own = tmp_path / "classifier.txt"
    own.write_text("w8 {question} w9")
    train(request(base, data, tmp_path / "other", epochs=1, classifier_template=own))
    assert (tmp_path / "other" / "classifier_ft_v5.txt").read_text() == "w8 {question} w9"
    assert (tmp_path / "other" / "system_ft_v5.txt").read_text() == "w1 w2 w3 w4\n"


def test_the_checkpoint_that_is_kept_can_be_exported(tmp_path: Path, llama: Path, data: Path) -> None:
    from tests.support.exporting import export

    asked = request(llama, data, tmp_path / "out", save_checkpoint=tmp_path / "kept", epochs=1)
    train(asked)
    again = load(export("causal_llm", tmp_path / "kept", tmp_path / "again"))
    np.testing.assert_allclose(rates(again, hard=True), rates(load(tmp_path / "out"), hard=True), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "gpt2"}, "supported model_type"),
        ({"hidden_act": "gelu"}, "only Llama's silu"),
        ({"num_hidden_layers": 3}, "lacks 9 of the model's weights"),
    ],
)
def test_checkpoints_that_are_not_supported_are_refused(
    tmp_path: Path, llama: Path, data: Path, config: dict[str, Any], says: str
) -> None:
    shutil.copytree(llama, tmp_path / "base")
    set_json(tmp_path / "base" / "config.json", **config)
    with pytest.raises(UsageError, match=says):
        train(request(tmp_path / "base", data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_templates_and_lengths_that_do_not_fit_are_refused(tmp_path: Path, llama: Path, data: Path) -> None:
    asked = request(llama, data, tmp_path / "out")
    template = tmp_path / "classifier.txt"
    template.write_text("Rate it.")
    with pytest.raises(UsageError, match=r"classifier_ft_v5\.txt has no \{question\}"):
        train(replace(asked, classifier_template=template))
    with pytest.raises(UsageError, match=r"gone\.txt: cannot be read"):
        train(replace(asked, system_template=tmp_path / "gone.txt"))
    with pytest.raises(UsageError, match="leave no room for a prompt, as the templates alone take"):
        train(request(llama, data, tmp_path / "out", max_tokens=20))


def test_what_the_command_makes_is_served_at_once(
    tmp_path: Path,
    llama: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    start_service: Callable[..., Any],
) -> None:
    command = ["train", "causal_llm", "--checkpoint", llama, "--data", data, "--output", tmp_path / "out"]
    command += ["--strong-model", "big", "--weak-model", "small", "--epochs", 1, "--lora-rank", 2, "--max-tokens", 90]
    assert main([str(argument) for argument in command]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    config = "\n".join(captured.out.splitlines()[-3:])
    decision = decide(start_service(config=config).address)
    assert decision.router_revision == open_artifact(tmp_path / "out", "causal_llm").manifest.revision
    assert decision.model in {"big", "small"}
