"""`export-onnx causal_llm`: the rating rule against transformers' own generation, and what is refused."""

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

import torch
import transformers

from benchmarks.random_checkpoints import prompt_of, write_decoder
from export_onnx.causal_llm_config import read_decoder
from routing_service.artifacts.loading import open_artifact
from routing_service.routers.causal_llm import CausalLLMRouter
from tests.support.exporting import change_tensors, export, refusal, set_json

PROMPTS = [prompt_of(words, seed) for seed, words in enumerate((1, 3, 40, 7, 90, 8, 20, 21, 22, 23, 24, 25))]
RATINGS = [195, 196, 197, 198, 199]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("llama") / "some-llama")


@pytest.fixture
def checkpoint(llama: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(llama, tmp_path / "checkpoint"))


def load(folder: Path) -> CausalLLMRouter:
    return CausalLLMRouter(open_artifact(folder, "causal_llm"))


def rates_of(router: CausalLLMRouter, prompts: list[str]) -> np.ndarray[Any, Any]:
    return np.array(router.score(prompts, router.models).strong_win_rates)


def source(checkpoint: Path) -> tuple[Any, Any]:
    """The model and the tokenizer as transformers loads them; it leaves much of both untyped."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(str(checkpoint))
    return model.eval(), transformers.AutoTokenizer.from_pretrained(str(checkpoint))


def generated(checkpoint: Path, prompts: list[str]) -> tuple[list[float], list[int | None]]:
    """The rule, read off six tokens that transformers generates: win rates, and the step that gave the rating."""
    model, tokenizer = source(checkpoint)
    rates, steps = [], []
    for prompt in prompts:
        text = "".join(
            f"<|start_header_id|>{role}<|end_header_id|>\n\n{said}<|eot_id|>"
            for role, said in (("system", "w1 w2 w3 w4"), ("user", f"w5\n{prompt}\n\nw6"))
        )
        ids = torch.tensor([tokenizer.encode(text)])
        answer = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            pad_token_id=1,
            output_scores=True,
            return_dict_in_generate=True,
        )
        new = answer.sequences[0, ids.shape[1] :].tolist()
        step = next((index for index, token in enumerate(new) if token in RATINGS), None)
        steps.append(step)
        rates.append(1.0 if step is None else 1 - float(answer.scores[step][0, RATINGS].softmax(-1)[3:].sum()))
    return rates, steps


def test_the_rating_is_the_first_among_six_greedy_tokens(tmp_path: Path) -> None:
    # Ratings only a little likelier than other tokens: some come at once, some later, some never.
    checkpoint = write_decoder(tmp_path / "checkpoint", seed=5, rating_scale=2.0)
    router = load(export("causal_llm", checkpoint, tmp_path / "artifact"))
    prompts = [prompt_of(words % 30 + 1, 100 + words) for words in range(40)]
    wanted, steps = generated(checkpoint, prompts)
    assert {0, None} < set(steps), "these weights do not try the rule"
    np.testing.assert_allclose(rates_of(router, prompts), wanted, atol=1e-5)


def test_the_answer_ends_with_a_stop_token(tmp_path: Path) -> None:
    checkpoint = write_decoder(tmp_path / "checkpoint", seed=5, rating_scale=2.0)
    prompts = [prompt_of(words % 30 + 1, 100 + words) for words in range(40)]
    before, steps = generated(checkpoint, prompts)
    model, tokenizer = source(checkpoint)
    late = next(index for index, step in enumerate(steps) if step)
    text = f"<|start_header_id|>user<|end_header_id|>\n\nw5\n{prompts[late]}\n\nw6<|eot_id|>"
    text = f"<|start_header_id|>system<|end_header_id|>\n\nw1 w2 w3 w4<|eot_id|>{text}"
    with torch.no_grad():
        first = int(model(torch.tensor([tokenizer.encode(text)])).logits[0, -1].argmax())
    # The token that came before a late rating now ends the answer.
    set_json(checkpoint / "generation_config.json", eos_token_id=[1, first])
    wanted, _ = generated(checkpoint, prompts)
    assert before[late] != 1.0
    assert wanted[late] == 1.0
    router = load(export("causal_llm", checkpoint, tmp_path / "artifact"))
    np.testing.assert_allclose(rates_of(router, prompts), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1, "head_dim": 12},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 100.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ],
    ids=["tied", "biases", "all-heads", "one-head", "linear-rope", "llama3-rope"],
)
def test_every_kind_of_llama_gives_the_win_rates_of_transformers(
    llama: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    checkpoint = Path(shutil.copytree(llama, tmp_path / "checkpoint"))
    config = transformers.AutoConfig.from_pretrained(str(checkpoint))
    config.update(changes)
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
            if name in {"lm_head.weight", "model.embed_tokens.weight"}:
                parameter[RATINGS] *= 8
    model.save_pretrained(checkpoint)
    router = load(export("causal_llm", checkpoint, tmp_path / "artifact"))
    wanted, _ = generated(checkpoint, PROMPTS)
    assert np.std(wanted) > 1e-3
    np.testing.assert_allclose(rates_of(router, PROMPTS), wanted, atol=1e-5)


def test_older_names_of_the_rotary_settings_are_read() -> None:
    sizes = {
        "model_type": "llama",
        "vocab_size": 10,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
    }
    new = read_decoder({**sizes, "rope_parameters": {"rope_theta": 50.0, "rope_type": "linear", "factor": 2.0}}, Path())
    old = read_decoder({**sizes, "rope_theta": 50.0, "rope_scaling": {"type": "linear", "factor": 2.0}}, Path())
    np.testing.assert_array_equal(new.frequencies, old.frequencies)
    assert new.kv_heads == 2


@pytest.mark.parametrize(("precision", "mean"), [("fp16", 5e-3), ("int8", 2e-2)])
def test_other_precisions_are_near(llama: Path, tmp_path: Path, precision: str, mean: float) -> None:
    router = load(export("causal_llm", llama, tmp_path / "artifact", "--quantize", precision))
    wanted, _ = generated(llama, PROMPTS)
    assert 0 < np.abs(rates_of(router, PROMPTS) - wanted).mean() < mean


def test_tensors_that_do_not_belong_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_tensors(
        checkpoint,
        **{
            "model.norm.weight": None,
            "model.layers.0.mlp.up_proj.weight": np.zeros((64, 31), np.float32),
            "model.layers.9.mlp.up_proj.weight": np.zeros((64, 32), np.float32),
        },
    )
    message = refusal(capsys, "causal_llm", checkpoint, tmp_path / "out")
    assert "missing 1: model.norm.weight [32]" in message
    assert "not known 1: model.layers.9.mlp.up_proj.weight [64, 32]" in message
    assert "model.layers.0.mlp.up_proj.weight [64, 31] instead of [64, 32]" in message


def spoil_tokenizer(checkpoint: Path, how: str) -> None:
    path = checkpoint / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary, added = tokenizer["model"]["vocab"], tokenizer["added_tokens"]
    if how == "without ratings":
        for token in [token for token in vocabulary if token.startswith("[[")]:
            del vocabulary[token]
        tokenizer["added_tokens"] = [token for token in added if not token["content"].startswith("[[")]
    elif how == "elsewhere":
        vocabulary["[[1]]"], vocabulary["w0"] = vocabulary["w0"], vocabulary["[[1]]"]
        next(token for token in added if token["content"] == "[[1]]")["id"] = vocabulary["[[1]]"]
    else:
        vocabulary["beyond"] = len(vocabulary)
    path.write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("without ratings", "the tokenizer has no rating token [[1]], [[2]], [[3]], [[4]], [[5]]"),
        ("elsewhere", "not the last of the model's 200 rows"),
        ("larger", "the tokenizer has 201 tokens but the model's embedding 200 rows"),
    ],
)
def test_another_models_tokenizer_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, says: str
) -> None:
    spoil_tokenizer(checkpoint, how)
    assert says in refusal(capsys, "causal_llm", checkpoint, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("system_ft_v5.txt", None, "has no system_ft_v5.txt"),
        ("classifier_ft_v5.txt", None, "has no classifier_ft_v5.txt"),
        ("classifier_ft_v5.txt", "Rate it.", "has no {question}"),
        ("classifier_ft_v5.txt", "{question} {answer}", "has the field {answer}"),
        ("classifier_ft_v5.txt", "{question} {", "not a format string"),
    ],
)
def test_templates_that_are_missing_or_odd_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, says: str
) -> None:
    (checkpoint / name).unlink()
    if text is not None:
        (checkpoint / name).write_text(text)
    assert says in refusal(capsys, "causal_llm", checkpoint, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "lama"}, "did you mean 'llama'"),
        ({"hidden_act": "gelu"}, "only Llama's silu"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "supported rope_type"),
        ({"sliding_window": 100}, "sliding window"),
        ({"num_key_value_heads": 3}, "do not fit"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
    ],
)
def test_configurations_that_are_not_supported_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], says: str
) -> None:
    set_json(checkpoint / "config.json", **changes)
    assert says in refusal(capsys, "causal_llm", checkpoint, tmp_path / "out")


def test_generation_settings_that_change_greedy_choices_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_json(checkpoint / "generation_config.json", repetition_penalty=1.2)
    assert "repetition_penalty is 1.2" in refusal(capsys, "causal_llm", checkpoint, tmp_path / "out")
