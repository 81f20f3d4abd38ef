"""`export-onnx bert`: families, labels and precisions against transformers, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("transformers", reason="the extra `export` is not installed")

import torch
import transformers

from benchmarks.random_checkpoints import CLASSIFIER_SPECIALS, prompt_of, write_classifier, write_tokenizer
from export_onnx.bert import strong_label
from routing_service.artifacts.loading import open_artifact
from routing_service.errors import UsageError
from routing_service.models import ModelPair
from routing_service.routers.bert import BertRouter
from tests.support.exporting import change_tensors, export, refusal, set_json

PROMPTS = [prompt_of(words, seed) for seed, words in enumerate((1, 3, 40, 7, 90, 8))]
SIZES = {"vocab_size": 120, "max_position_embeddings": 64}
BERT_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {**SIZES, **BERT_SIZES}),
    "minilm": ("Bert", {**SIZES, **BERT_SIZES, "hidden_size": 48, "num_attention_heads": 12, "hidden_act": "gelu_new"}),
    "roberta": ("Roberta", {**SIZES, **BERT_SIZES, "pad_token_id": 1, "hidden_act": "relu"}),
    "distilbert": ("DistilBert", {**SIZES, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
}


@pytest.fixture(scope="module")
def xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("xlm-roberta") / "some-classifier")


@pytest.fixture
def checkpoint(xlm_roberta: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(xlm_roberta, tmp_path / "checkpoint"))


def write_family(folder: Path, name: str, labels: int = 3) -> Path:
    family, sizes = FAMILIES[name]
    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(**sizes, num_labels=labels)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(folder)
    write_tokenizer(
        folder,
        SIZES["vocab_size"],
        CLASSIFIER_SPECIALS,
        template="<s> $A </s>",
        max_length=10**30,
        roles={"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
    )
    return folder


def routellm_rates(checkpoint: Path, prompts: list[str], max_length: int, rule: Callable[[Any], Any]) -> list[float]:
    """What transformers gives, a prompt at a time."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(checkpoint)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(checkpoint))
    with torch.no_grad():
        inputs = [tokenizer(p, return_tensors="pt", truncation=True, max_length=max_length) for p in prompts]
        return [float(rule(model(i["input_ids"], i["attention_mask"]).logits[0].softmax(-1))) for i in inputs]


def three_labels(probabilities: Any) -> Any:
    return 1 - probabilities[-2:].sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_win_rates_of_transformers(family: str, tmp_path: Path) -> None:
    checkpoint = write_family(tmp_path / "checkpoint", family)
    router = BertRouter(open_artifact(export("bert", checkpoint, tmp_path / "artifact"), "bert"))
    scores = router.score(PROMPTS, router.models)
    length = 62 if family == "roberta" else 64
    wanted = routellm_rates(checkpoint, PROMPTS, length, three_labels)
    assert np.std(wanted) > 1e-3
    np.testing.assert_allclose(scores.strong_win_rates, wanted, atol=1e-6)
    assert list(scores.truncated) == [False, False, False, False, True, False]
    assert scores.prompt_tokens == [3, 5, 42, 9, length, 10]


def test_two_labels_take_the_first_or_the_one_that_is_named(tmp_path: Path) -> None:
    checkpoint = write_family(tmp_path / "checkpoint", "bert", labels=2)
    set_json(checkpoint / "config.json", id2label={"0": "strong", "1": "weak"}, label2id={"strong": 0, "weak": 1})
    rates = {}
    for name, options in {"default": (), "strong": ("--strong-label", "strong"), "1": ("--strong-label", "1")}.items():
        router = BertRouter(open_artifact(export("bert", checkpoint, tmp_path / name, *options), "bert"))
        rates[name] = np.array(router.score(PROMPTS, router.models).strong_win_rates)
    np.testing.assert_allclose(rates["default"], routellm_rates(checkpoint, PROMPTS, 64, lambda p: p[0]), atol=1e-6)
    np.testing.assert_array_equal(rates["default"], rates["strong"])
    np.testing.assert_allclose(rates["1"], 1 - rates["default"], atol=1e-6)


def test_labels_that_leave_a_choice_open_are_refused() -> None:
    where = Path("config.json")
    assert strong_label(["a", "b", "c"], None, where) is None
    assert strong_label(["a", "b", "c"], "2", where) == 2
    assert strong_label(["7", "8"], "8", where) == 1
    with pytest.raises(UsageError, match="did you mean 'strong'"):
        strong_label(["strong", "weak"], "strnog", where)
    with pytest.raises(UsageError, match="one label"):
        strong_label(["a"], None, where)
    with pytest.raises(UsageError, match="--strong-label"):
        strong_label(["a", "b", "c", "d"], None, where)


@pytest.mark.parametrize(("precision", "mean"), [("fp16", 5e-3), ("int8", 2e-2)])
def test_other_precisions_are_near_and_smaller(xlm_roberta: Path, tmp_path: Path, precision: str, mean: float) -> None:
    routers = {}
    for name, options in {"fp32": (), precision: ("--quantize", precision)}.items():
        artifact = open_artifact(export("bert", xlm_roberta, tmp_path / name, *options), "bert")
        assert artifact.manifest.provenance["precision"] == name
        routers[name] = BertRouter(artifact)
    rates = {name: np.array(r.score(PROMPTS, r.models).strong_win_rates) for name, r in routers.items()}
    assert 0 < np.abs(rates[precision] - rates["fp32"]).mean() < mean
    sizes = {name: (tmp_path / name / "model.onnx").stat().st_size for name in routers}
    assert sizes[precision] < 0.7 * sizes["fp32"]


def test_the_manifest_says_where_it_comes_from_and_nothing_of_the_machine(
    xlm_roberta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    options = ("--strong-model", "big", "--weak-model", "small", "--prompts", str(tmp_path / "prompts.txt"))
    folder = export("bert", xlm_roberta, tmp_path / "artifact", *options)
    manifest = open_artifact(folder, "bert").manifest
    assert manifest.models == ModelPair("big", "small")
    assert manifest.provenance["checkpoint"] == "some-classifier"
    assert set(manifest.provenance["checkpoint_sha256"]) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    parity = manifest.provenance["parity"]
    assert parity["prompts"] > len(PROMPTS)
    assert 0 <= parity["mean_difference"] <= parity["max_difference"] < 1e-4
    assert manifest.calibration is not None
    assert manifest.calibration.sample_size == len(PROMPTS)
    assert str(xlm_roberta.parent) not in (folder / "manifest.json").read_text()
    assert f"parity over {parity['prompts']} prompts" in capsys.readouterr().out
    again = export("bert", xlm_roberta, tmp_path / "again", *options)
    assert (again / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


def test_tensors_that_do_not_belong_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_tensors(
        checkpoint,
        **{
            "roberta.encoder.layer.1.output.dense.weight": np.zeros((32, 63), np.float32),
            "classifier.dense.bias": None,
            "classifier.extra.weight": np.zeros((1,), np.float32),
        },
    )
    message = refusal(capsys, "bert", checkpoint, tmp_path / "out")
    assert "missing 1: classifier.dense.bias [32]" in message
    assert "not known 1: classifier.extra.weight [1]" in message
    assert "roberta.encoder.layer.1.output.dense.weight [32, 63] instead of [32, 64]" in message


def test_nan_is_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_tensors(checkpoint, **{"classifier.dense.bias": np.full(32, np.nan, np.float32)})
    assert "classifier.dense.bias holds NaN" in refusal(capsys, "bert", checkpoint, tmp_path / "out")


def test_another_models_tokenizer_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["beyond"] = 200
    path.write_text(json.dumps(tokenizer))
    message = refusal(capsys, "bert", checkpoint, tmp_path / "out")
    assert "the tokenizer has 201 tokens but the model's embedding 200 rows" in message


@pytest.mark.parametrize("text", [None, "{"])
def test_a_tokenizer_that_cannot_be_read_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    (checkpoint / "tokenizer.json").unlink()
    if text is not None:
        (checkpoint / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(capsys, "bert", checkpoint, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "xlm-robreta"}, "did you mean 'xlm-roberta'"),
        ({"model_type": None}, "supported model_type"),
        ({"hidden_act": "swish"}, "supported activation"),
        ({"is_decoder": True}, "only encoders"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_attention_heads": 5}, "do not fit together"),
        ({"num_hidden_layers": 3}, "missing 16"),
    ],
)
def test_configurations_that_are_not_supported_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], says: str
) -> None:
    set_json(checkpoint / "config.json", **changes)
    assert says in refusal(capsys, "bert", checkpoint, tmp_path / "out")


def test_the_same_model_twice_is_refused(xlm_roberta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "bert", xlm_roberta, tmp_path / "out", "--strong-model", "a", "--weak-model", "a")
    assert "both 'a'" in message


def test_a_graph_that_deviates_is_not_written(
    xlm_roberta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export_onnx.bert.source_win_rates", lambda *_: [0.5] * 13)
    assert "differs from the source model" in refusal(capsys, "bert", xlm_roberta, tmp_path / "out")
