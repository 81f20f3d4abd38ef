"""A Llama that rates prompts: rating tokens, the row of each in the last layer, and its trained checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from export_onnx.causal_llm import RATINGS, rating_ids
from export_onnx.checkpoint import Checkpoint
from export_onnx.tokenizer import SourceTokenizer
from routing_lab.training.finetune.lora import add_adapters, merged
from routing_lab.training.finetune.pretrained import enable_gradient_checkpointing, load_pretrained
from routing_lab.training.finetune.request import FinetuneRequest
from routing_lab.training.finetune.state import load_weights, trained_weights

_LAYERS = "model.layers."
_ROWS = "rating_rows"


@dataclass(frozen=True, slots=True)
class RatingModel:
    """A model that is trained to rate.

    `ids` are the rating tokens, the last rows of its vocabulary; `hook`, with adapters, puts their trained rows in
    place.
    """

    model: Any
    ids: tuple[int, ...]
    hook: Any = None

    def log_probs(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, among all tokens, that each rating comes next: (rows, ratings).

        `ids` and `mask` are (rows, tokens), padded on the left, so that what comes next does so in the last column.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits: torch.Tensor = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, use_cache=False
        ).logits[:, -1]
        return logits.float().log_softmax(-1)[:, list(self.ids)]


def add_rating_tokens(tokenizer: SourceTokenizer) -> None:
    """Add the rating tokens that a tokenizer lacks, as special ones."""
    from transformers import AddedToken

    known = tokenizer.source.get_vocab()
    missing = [AddedToken(token, special=True, normalized=False) for token in RATINGS if token not in known]
    tokenizer.source.add_tokens(missing, special_tokens=True)


def load_rating_model(base: Checkpoint, tokenizer: SourceTokenizer, asked: FinetuneRequest) -> RatingModel:
    """The model to train: the checkpoint's, with a row for each of the tokenizer's tokens, and adapters if asked.

    New tokens begin as the mean of all others. With adapters, the ratings' rows of the last layer are trained beside
    them and nothing else is: as ratings are never read, only written, the embeddings of the new tokens do not matter.
    Equal for equal seeds.

    Raises:
        UsageError: the checkpoint cannot be loaded, or its tokenizer has the ratings at another place.
    """
    from transformers import AutoModelForCausalLM

    torch.manual_seed(asked.seed)
    model = load_pretrained(AutoModelForCausalLM, base)
    tokens = 1 + max(tokenizer.source.get_vocab().values())
    ids = rating_ids(tokenizer, tokens, base.folder)
    _resize(model, tokens)
    if asked.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    if not asked.lora_rank:
        return RatingModel(model, ids)
    head = model.get_output_embeddings()
    model = add_adapters(model, asked.lora_rank, adapted=_LAYERS)
    return RatingModel(model, ids, _train_rows(head, len(ids)))


def merged_model(rated: RatingModel, base: Checkpoint, tokenizer: SourceTokenizer, asked: FinetuneRequest) -> Any:
    """The trained model on the CPU in float32, its adapters and rating rows merged."""
    if not asked.lora_rank:
        return rated.model.cpu()
    # On a GPU the frozen weights are rounded; the adapters are merged into the checkpoint's own.
    exact = load_rating_model(base, tokenizer, asked)
    load_weights(exact.model, trained_weights(rated.model))
    model = merged(exact.model)
    exact.hook.remove()
    _merge_rows(model.get_output_embeddings())
    return model


def _resize(model: Any, tokens: int) -> None:
    """Give the vocabulary another size; new rows are the mean of the old ones, so that every token is as likely."""
    before = model.get_input_embeddings().weight.shape[0]
    if before == tokens:
        return
    model.resize_token_embeddings(tokens, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if tokens > before:
                layer.weight[before:] = layer.weight[:before].mean(0)


def _train_rows(head: Any, count: int) -> Any:
    """Train copies of the last `count` rows of a frozen last layer, in their place. Returns the hook that does so."""
    rows = torch.nn.Parameter(head.weight[-count:].detach().clone())
    head.register_parameter(_ROWS, rows)

    def with_trained_rows(_: Any, inputs: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
        rated = torch.nn.functional.linear(inputs[0].to(rows.dtype), rows)
        return torch.cat([logits[..., :-count], rated.to(logits.dtype)], dim=-1)

    return head.register_forward_hook(with_trained_rows)


def _merge_rows(head: Any) -> None:
    rows = getattr(head, _ROWS)
    with torch.no_grad():
        head.weight[-len(rows) :] = rows
    delattr(head, _ROWS)
