"""What tests of the fine-tuned trainers share: rows with a rule to learn, small encoders, and what is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import torch
import transformers
from routing_client.proto import decision_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc
from routing_lab.training.finetune.request import BertRequest, CausalLLMRequest

from benchmarks.random_checkpoints import CLASSIFIER_SPECIALS, write_tokenizer

torch.set_num_threads(1)  # models this small gain nothing from more
# A prompt with this word is one that only the strong model gets right; on all others both do as well.
HARD_WORD = "w7"
VOCABULARY = 120
_SIZES = {"vocab_size": VOCABULARY, "max_position_embeddings": 48}
_BERT = {**_SIZES, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _BERT),
    "roberta": ("Roberta", {**_BERT, "pad_token_id": 1}),
    "xlm-roberta": ("XLMRoberta", {**_BERT, "pad_token_id": 1}),
    "distilbert": ("DistilBert", {**_SIZES, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
}


def prompts(count: int, *, hard: bool, seed: int = 0) -> list[str]:
    """Prompts of four to nine words, with `HARD_WORD` somewhere in each of the hard ones."""
    rng = np.random.default_rng([seed, hard])
    made = []
    for length in rng.integers(4, 10, count):
        words = [f"w{number}" for number in rng.integers(10, 100, length)]
        if hard:
            words[int(rng.integers(length))] = HARD_WORD
        made.append(" ".join(words))
    return made


def write_rows(path: Path, count: int = 320, *, seed: int = 0) -> Path:
    """Per-model scores of `big` and `small` that follow the rule; half of the prompts are hard."""
    half = count // 2
    rows = [(prompt, 0) for prompt in prompts(half, hard=True, seed=seed)]
    rows += [(prompt, 1) for prompt in prompts(half, hard=False, seed=seed)]
    lines = (json.dumps({"prompt": prompt, "scores": {"big": 1, "small": right}}) for prompt, right in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_encoder(folder: Path, family: str = "xlm-roberta") -> Path:
    """A small encoder with chance weights and without a classifier, as `from_pretrained` of a base model finds one."""
    name, sizes = ENCODERS[family]
    torch.manual_seed(3)
    model: Any = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.8 / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    roles = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_tokenizer(folder, VOCABULARY, CLASSIFIER_SPECIALS, template="<s> $A </s>", max_length=10**30, roles=roles)
    return folder


def request(checkpoint: Path, data: Path | Sequence[Path], output: Path, **options: Any) -> BertRequest:
    """What is asked of the trainer of `bert`: a quick run, except for what `options` change."""
    return BertRequest(**_quick(checkpoint, data, output, options))


def rating_request(checkpoint: Path, data: Path | Sequence[Path], output: Path, **options: Any) -> CausalLLMRequest:
    """The same of the trainer of `causal_llm`, which trains the whole model too unless `options` say otherwise."""
    return CausalLLMRequest(**_quick(checkpoint, data, output, options))


def _quick(checkpoint: Path, data: Path | Sequence[Path], output: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    quick = {"strong_model": "big", "weak_model": "small", "max_tokens": 64, "lora_rank": 0}
    recipe = {"epochs": 4, "batch_size": 16, "learning_rate": 3e-3}
    paths = [data] if isinstance(data, Path) else data
    return {"checkpoint": str(checkpoint), "data": paths, "output": output, **quick, **recipe, **options}


def decide(address: str) -> decision_pb2.Decision:
    """A running service's decision about one prompt, by share."""
    with grpc.insecure_channel(address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        response: pb.DecideResponse = stub.Decide(pb.DecideRequest(prompt="w10 w7 w12", strong_share=0.5), timeout=30)
        return response.decision
