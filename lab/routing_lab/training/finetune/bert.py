"""`routing-service train bert`: a BERT-like encoder fine-tuned on preference data, and its artifact.

RouteLLM's classifier has three labels, win, tie and loss of the strong model, and its win rate is one minus the last
two. Preferences are soft here: a row's target becomes probabilities of the labels (see `labels`), and the loss is the
cross-entropy to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from export_onnx.bert import make_artifact
from export_onnx.bert_config import Classifier, read_classifier
from export_onnx.checkpoint import CONFIG, Checkpoint, open_checkpoint
from export_onnx.tokenizer import SourceTokenizer
from routing_lab.data.examples import Example
from routing_lab.training.finetune.artifact import checkpoint_folder, describe_export, open_work
from routing_lab.training.finetune.batches import Rows
from routing_lab.training.finetune.labels import Ties, outcome_probabilities
from routing_lab.training.finetune.loop import Objective, fit
from routing_lab.training.finetune.lora import add_adapters, merged
from routing_lab.training.finetune.pretrained import (
    enable_gradient_checkpointing,
    load_pretrained,
    move_to_device,
)
from routing_lab.training.finetune.report import FinetuneReport
from routing_lab.training.finetune.request import BertRequest
from routing_lab.training.finetune.state import load_weights, trained_weights
from routing_lab.training.finetune.training_data import read_data
from routing_service.errors import UsageError

LABELS = {Ties.WEAK: ("strong wins", "tie", "weak wins"), Ties.HALF: ("strong wins", "weak wins")}
MIN_PROMPT_TOKENS = 8


def train(asked: BertRequest) -> FinetuneReport:
    """Fine-tune an encoder and write its artifact. An interrupted run goes on where it was.

    Raises:
        UsageError: the checkpoint, the data or a folder is not usable, or the training diverged; the message says how
            to mend it.
    """
    asked.check()
    base = open_checkpoint(asked.checkpoint)
    sizes = read_classifier(base.config, len(LABELS[asked.ties]), base.folder / CONFIG)
    tokenizer = SourceTokenizer(base, sizes.vocabulary)
    max_tokens = min(asked.max_tokens, tokenizer.limit or sizes.max_tokens, sizes.max_tokens)
    if max_tokens < MIN_PROMPT_TOKENS:
        raise UsageError(f"--max-tokens {max_tokens} leaves no room for a prompt; give {MIN_PROMPT_TOKENS} or more")
    data = read_data(asked)
    work = open_work(asked, base, data)
    training, validation = (_rows(part, tokenizer, max_tokens, asked.ties) for part in (data.train, data.validation))
    model = load_classifier(base, sizes, asked)
    move_to_device(model)
    resumed = work.resumed
    objective = Objective(log_probs, sizes.pad_id, "right")
    best = fit(model, training, validation, objective, asked, work, seed=asked.seed, finish=asked.finish)
    with checkpoint_folder(asked, work) as folder:
        merged_classifier(model, base, sizes, asked).save_pretrained(str(folder))
        # The artifact reads as many tokens as were trained on.
        tokenizer.source.model_max_length = max_tokens
        tokenizer.source.save_pretrained(str(folder))
        export = describe_export(
            folder, asked, base, data, best, lambda score, prompts: score(prompts).strong_win_rates
        )
        manifest = make_artifact(export)
    work.discard()
    return FinetuneReport(asked.output, manifest, len(data.train), resumed)


def load_classifier(base: Checkpoint, sizes: Classifier, asked: BertRequest) -> Any:
    """The model to train: the encoder, a head of `sizes.labels` labels, new unless it has one, and adapters if asked.

    Equal for equal seeds.
    """
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(asked.seed)
    names = dict(enumerate(LABELS[asked.ties]))
    head = sizes.family.head
    model = load_pretrained(
        AutoModelForSequenceClassification,
        base,
        may_be_new=head,
        num_labels=sizes.labels,
        id2label=names,
        label2id={name: label for label, name in names.items()},
        problem_type="single_label_classification",
    )
    if asked.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    if not asked.lora_rank:
        return model
    layers = f"{sizes.family.prefix}{sizes.family.layer}."
    return add_adapters(model, asked.lora_rank, adapted=layers, trained=head)


def merged_classifier(model: Any, base: Checkpoint, sizes: Classifier, asked: BertRequest) -> Any:
    """The trained model on the CPU in float32, its adapters merged."""
    if not asked.lora_rank:
        return model.cpu()
    # On a GPU the frozen weights are rounded; the adapters are merged into the checkpoint's own.
    exact = load_classifier(base, sizes, asked)
    load_weights(exact, trained_weights(model))
    return merged(exact)


def log_probs(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the labels, (rows, labels), of right-padded `ids` and their `mask`, (rows, tokens)."""
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits.float().log_softmax(-1)


def _rows(examples: Sequence[Example], tokenizer: SourceTokenizer, max_tokens: int, ties: Ties) -> Rows:
    return Rows(
        [tokenizer.encode(example.prompt, max_tokens, tokenizer.side) for example in examples],
        outcome_probabilities([example.target for example in examples], ties).astype(np.float32),
        np.array([example.weight for example in examples], np.float32),
    )
