"""`train bert`: a rule is learnt and served, interruptions change nothing, adapters merge, faults are told."""

from __future__ import annotations

import json
import shlex
import sys
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
from routing_lab.options import from_options
from routing_lab.training.finetune import bert
from routing_lab.training.finetune import loop as finetune_loop
from routing_lab.training.finetune.bert import log_probs, train
from routing_lab.training.finetune.labels import Ties
from routing_lab.training.finetune.lora import merged
from routing_lab.training.finetune.report import FinetuneReport
from routing_lab.training.finetune.request import BertRequest
from safetensors import SafetensorError

from export_onnx.bert_config import read_classifier
from export_onnx.checkpoint import open_checkpoint
from routing_service.artifacts.loading import open_artifact
from routing_service.cli import main
from routing_service.cli.parser import parse
from routing_service.errors import UsageError
from routing_service.models import ModelPair
from routing_service.routers.bert import BertRouter
from tests.support.exporting import set_json
from tests.support.finetuning import ENCODERS, VOCABULARY, decide, prompts, request, write_encoder, write_rows


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "some-encoder")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "own.jsonl")


@pytest.fixture
def one_epoch() -> dict[str, Any]:
    return {"epochs": 1}


def load(folder: Path) -> BertRouter:
    return BertRouter(open_artifact(folder, "bert"))


def separation(router: BertRouter) -> float:
    """The share of pairs of new prompts, one hard and one easy, in which the hard one has the higher win rate."""
    hard, easy = (
        np.array(router.score(prompts(40, hard=kind, seed=9), router.models).strong_win_rates) for kind in (True, False)
    )
    return float((hard[:, None] > easy[None, :]).mean())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("family", ENCODERS)
def test_every_family_learns_the_rule_and_is_served(tmp_path: Path, data: Path, family: str) -> None:
    base = write_encoder(tmp_path / "base", family)
    # From chance weights a rule is found after a while in which validation gets no better.
    report = train(request(base, data, tmp_path / "out", epochs=8, patience=32))
    router = load(tmp_path / "out")
    assert router.revision == report.manifest.revision
    assert separation(router) > 0.9
    validation = report.manifest.metrics["validation"]
    value, low, high = validation["apgr"]
    assert 0.6 < low <= value <= high
    assert validation["log_loss"][0] < 0.5 * validation["log_loss_of_constant"]
    # Easy prompts are ties, which count for nothing: the win rates are calibrated to that.
    hard, easy = (
        np.mean(router.score(prompts(40, hard=h, seed=9), router.models).strong_win_rates) for h in (True, False)
    )
    assert easy < 0.2
    assert hard > 0.8


def test_a_tie_may_count_as_half_a_win(tmp_path: Path, data: Path, encoder: Path) -> None:
    train(request(encoder, data, tmp_path / "out", ties=Ties.HALF))
    router = load(tmp_path / "out")
    easy = np.array(router.score(prompts(40, hard=False, seed=9), router.models).strong_win_rates)
    assert easy.mean() == pytest.approx(0.5, abs=0.15)
    assert separation(router) > 0.9


def test_the_manifest_says_how_it_was_made_and_holds_no_prompt(tmp_path: Path, data: Path, encoder: Path) -> None:
    report = train(request(encoder, data, tmp_path / "out", max_tokens=20, quantize="int8", seed=2))
    manifest = open_artifact(tmp_path / "out", "bert").manifest
    assert manifest.models == ModelPair("big", "small")
    assert manifest.max_tokens == 20
    assert manifest.calibration is not None
    assert len(manifest.calibration.quantiles) == 1001
    found = manifest.provenance
    assert (found["seed"], found["precision"], found["ties"]) == (2, "int8", "weak")
    assert found["base"]["checkpoint"] == "some-encoder"
    assert found["checkpoint"] == "some-encoder, fine-tuned"
    assert found["data"][0]["name"] == "own.jsonl"
    assert found["rows"] == {"training": report.training_rows, "validation": 320 - report.training_rows}
    repeated = parse(shlex.split(found["command"])[1:])
    asked = request(Path("some-encoder"), Path("own.jsonl"), Path("DIR"), max_tokens=20, quantize="int8", seed=2)
    wanted = replace(asked, strong_model=["big"], weak_model=["small"])
    assert from_options(BertRequest, repeated) == wanted
    assert {"max_difference", "mean_difference"} < found["parity"].keys()
    text = (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert str(encoder.parent) not in text
    assert not any(json.loads(line)["prompt"] in text for line in data.read_text().splitlines())
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert report.config.splitlines()[-1].endswith('/out"}')


def test_the_quantiles_are_those_of_what_is_served(tmp_path: Path, data: Path, encoder: Path) -> None:
    train(request(encoder, data, tmp_path / "out", epochs=2))
    router = load(tmp_path / "out")
    assert router.calibration is not None
    rates = router.score([json.loads(line)["prompt"] for line in data.read_text().splitlines()], router.models)
    quantiles = router.calibration.quantiles
    known = np.round(rates.strong_win_rates, 6)
    assert {round(quantiles[0], 4), round(quantiles[-1], 4)} <= set(np.round(known, 4))


def interrupted(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    step, done = torch.optim.AdamW.step, iter(range(1, 10_000))

    def counted(self: Any) -> Any:
        if next(done) == update:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_an_interrupted_training_ends_with_the_same_artifact(
    tmp_path: Path,
    data: Path,
    encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lora_rank: int,
) -> None:
    monkeypatch.setattr(finetune_loop, "SAVE_SECONDS", 0.0)
    options = {"lora_rank": lora_rank, "epochs": 2}
    train(request(encoder, data, tmp_path / "whole", **options))
    asked = request(encoder, data, tmp_path / "resumed", **options)
    with monkeypatch.context() as patch:
        interrupted(patch, 23)
        with pytest.raises(KeyboardInterrupt):
            train(asked)
    assert (tmp_path / "resumed.work").is_dir()
    assert not (tmp_path / "resumed").exists()
    capsys.readouterr()
    report = train(asked)
    assert report.resumed == 22
    assert "an interrupted training goes on after update 22" in capsys.readouterr().err
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "resumed"}


def test_the_work_of_another_training_is_not_gone_on_with(
    tmp_path: Path, data: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, one_epoch: dict[str, Any]
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            train(request(encoder, data, tmp_path / "out", **one_epoch))
    with pytest.raises(UsageError, match=r"asked for something else \(seed differ\).*--restart"):
        train(request(encoder, data, tmp_path / "out", seed=1, **one_epoch))
    assert train(request(encoder, data, tmp_path / "out", seed=1, restart=True, **one_epoch)).resumed == 0


def test_an_interrupted_training_can_be_finished_as_it_is(
    tmp_path: Path, data: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            train(request(encoder, data, tmp_path / "out"))
    report = train(request(encoder, data, tmp_path / "out", finish=True))
    assert report.manifest.metrics["run"]["updates"] == 5
    assert report.manifest.metrics["run"]["best_update"] == 5
    assert load(tmp_path / "out").revision == report.manifest.revision


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_adapters_merge_into_the_very_model_that_was_trained(tmp_path: Path, data: Path, family: str) -> None:
    base = open_checkpoint(str(write_encoder(tmp_path / "base", family)))
    sizes = read_classifier(base.config, 3, Path("config.json"))
    asked = request(base.folder, data, tmp_path / "out", lora_rank=4)
    model = bert.load_classifier(base, sizes, asked)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    assert len(adapters) == 2 * 6 * 2
    assert all(any(f".{part}." in name for part in sizes.family.head) for name in trained - adapters)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    ids = torch.randint(5, VOCABULARY, (6, 20))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        before = log_probs(model.eval(), ids, mask)
        again = bert.merged_classifier(model, base, sizes, asked).eval()
        assert not any("lora" in name for name, _ in again.named_parameters())
        torch.testing.assert_close(log_probs(again, ids, mask), before, rtol=0, atol=1e-5)
        torch.testing.assert_close(log_probs(merged(model).eval(), ids, mask), before, rtol=0, atol=1e-5)


def test_adapters_learn_and_only_they_are_kept(tmp_path: Path, data: Path, encoder: Path) -> None:
    report = train(request(encoder, data, tmp_path / "out", lora_rank=8, epochs=6, learning_rate=1e-2))
    history = report.manifest.metrics["run"]["history"]
    assert history[-1][2] < history[0][2]
    assert separation(load(tmp_path / "out")) > 0.9


def test_the_checkpoint_can_be_kept_and_gone_on_from(
    tmp_path: Path, data: Path, encoder: Path, one_epoch: dict[str, Any]
) -> None:
    train(request(encoder, data, tmp_path / "out", save_checkpoint=tmp_path / "kept", **one_epoch))
    router = load(tmp_path / "out")
    again = train(request(tmp_path / "kept", data, tmp_path / "more", epochs=1, learning_rate=1e-9))
    assert again.manifest.provenance["base"]["checkpoint"] == "kept"
    more, texts = load(tmp_path / "more"), prompts(10, hard=True)
    first, second = (r.score(texts, r.models).strong_win_rates for r in (router, more))
    np.testing.assert_allclose(first, second, atol=1e-4)
    with pytest.raises(UsageError, match="--save-checkpoint"):
        train(request(encoder, data, tmp_path / "third", save_checkpoint=tmp_path / "kept", **one_epoch))


def test_gradient_checkpointing_learns_the_same(
    tmp_path: Path, data: Path, encoder: Path, one_epoch: dict[str, Any]
) -> None:
    plain, frugal = (
        train(request(encoder, data, tmp_path / str(on), gradient_checkpointing=on, **one_epoch)).manifest.metrics
        for on in (False, True)
    )
    np.testing.assert_allclose(plain["run"]["history"], frugal["run"]["history"], rtol=1e-4)


def spoiled(encoder: Path, folder: Path, **changes: Any) -> Path:
    import shutil

    shutil.copytree(encoder, folder)
    set_json(folder / "config.json", **changes)
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """A command that must fail without a word on standard output; its one line of complaint."""
    capsys.readouterr()
    assert main([str(argument) for argument in ("train", "bert", *arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("routing-service: error: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.fixture
def pair() -> list[str]:
    return ["--strong-model", "big", "--weak-model", "small"]


def test_faults_of_the_checkpoint_are_told_before_the_data_is_read(
    tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(checkpoint: Path) -> str:
        return refused(capsys, "--checkpoint", checkpoint, "--data", tmp_path / "gone", "--output", tmp_path / "out")

    assert "there is no such folder" in fault(tmp_path / "no/such/checkpoint")
    assert "did you mean 'bert'" in fault(spoiled(encoder, tmp_path / "albert", model_type="albert"))
    assert "supported activation" in fault(spoiled(encoder, tmp_path / "swish", hidden_act="swish"))
    lost = spoiled(encoder, tmp_path / "lost")
    (lost / "tokenizer.json").unlink()
    assert "tokenizer" in fault(lost)
    pickled = spoiled(encoder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "its weights are a pickle" in fault(pickled)
    assert {path.name for path in tmp_path.iterdir()} == {"albert", "swish", "lost", "pickled"}


def test_a_checkpoint_that_lacks_layers_is_refused(tmp_path: Path, data: Path, encoder: Path) -> None:
    deeper = spoiled(encoder, tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(UsageError, match=r"lacks 16 of the model's weights, e\.g\. roberta\.encoder\.layer\.2"):
        train(request(deeper, data, tmp_path / "out"))


def test_faults_of_data_and_folders_are_told_in_one_line(
    tmp_path: Path, data: Path, encoder: Path, capsys: pytest.CaptureFixture[str], pair: list[str]
) -> None:
    few = write_rows(tmp_path / "few.jsonl", 40)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")

    def fault(*options: Any, rows: Path = data, output: str = "out") -> str:
        return refused(capsys, "--checkpoint", encoder, "--data", rows, "--output", tmp_path / output, *pair, *options)

    assert "40 usable rows. At least 200" in fault(rows=few)
    assert "exists and is not an artifact" in fault(output="mine")
    assert "--max-tokens 3 leaves no room" in fault("--max-tokens", 3)
    assert "was not made by a training" in fault("--work", tmp_path / "mine")
    assert "both 'big'" in refused(
        capsys, "--checkpoint", encoder, "--data", data, "--output", tmp_path / "out",
        "--strong-model", "big", "--weak-model", "big",
    )  # fmt: skip
    assert "diverged" in fault("--learning-rate", "1e30", "--epochs", 1)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    assert not (tmp_path / "out").exists()


def test_a_failed_training_keeps_the_old_artifact(
    tmp_path: Path, data: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, one_epoch: dict[str, Any]
) -> None:
    train(request(encoder, data, tmp_path / "out", **one_epoch))
    before = contents(tmp_path / "out")
    monkeypatch.setattr("export_onnx.bert.source_win_rates", lambda *arguments: [0.5] * len(arguments[-1]))
    with pytest.raises(UsageError, match="differs from the source model"):
        train(request(encoder, data, tmp_path / "out", seed=1, **one_epoch))
    assert contents(tmp_path / "out") == before
    monkeypatch.undo()
    # The training itself is kept: only the export is done again.
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda _: pytest.fail("it was trained again"))
    assert train(request(encoder, data, tmp_path / "out", seed=1, **one_epoch)).resumed > 0


def test_a_disk_that_fills_up_at_the_end_costs_no_training(
    tmp_path: Path, data: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, one_epoch: dict[str, Any]
) -> None:
    class Full:
        def save_pretrained(self, _: str) -> None:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(bert, "merged_classifier", lambda *_: Full())
        with pytest.raises(UsageError, match=r"No space left on device.*Make room, then repeat the command"):
            train(request(encoder, data, tmp_path / "out", **one_epoch))
    assert {path.name for path in tmp_path.iterdir()} == {"out.work"}
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda _: pytest.fail("it was trained again"))
    train(request(encoder, data, tmp_path / "out", **one_epoch))
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_the_command_prints_json_with_the_configuration_that_serves_it(
    tmp_path: Path,
    data: Path,
    encoder: Path,
    capsys: pytest.CaptureFixture[str],
    pair: list[str],
    start_service: Callable[..., Any],
) -> None:
    command = ["train", "bert", "--checkpoint", encoder, "--data", data, "--output", tmp_path / "out", *pair]
    command += ["--epochs", 1, "--learning-rate", "3e-3", "--ties", "half", "--seed", 3, "--json"]
    assert main([str(argument) for argument in command]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err == ""
    assert told["revision"] == load(tmp_path / "out").revision
    assert told["metrics"]["validation"]["ties"] == "half"
    decision = decide(start_service(config=told["config"]).address)
    assert (decision.router, decision.router_revision) == ("bert", told["revision"])
    assert decision.model in {"big", "small"}


def test_the_report_is_for_people(tmp_path: Path, data: Path, encoder: Path, one_epoch: dict[str, Any]) -> None:
    report = train(request(encoder, data, tmp_path / "out", **one_epoch))
    text = str(FinetuneReport(report.output, report.manifest, report.training_rows, 7))
    assert "resumed after update 7" in text
    assert "APGR 0." in text
    assert "routing-service serve --config" in text


def test_without_peft_the_extra_is_named(
    tmp_path: Path, data: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"--lora-rank needs peft; run: pip install 'routing-lab\[finetune\]'"):
        train(request(encoder, data, tmp_path / "out", lora_rank=4))
