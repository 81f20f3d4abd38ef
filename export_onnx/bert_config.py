"""The families of BERT-like checkpoints: what config.json says, and the tensors that must be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_service.errors import UsageError, unknown_name

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """How one family of checkpoints names its tensors and its configuration.

    `layer` and `parts` make a layer's tensors: `{prefix}{layer}.{i}.{part}.weight` and `.bias`, the parts in the order
    query, key, value, attention output, attention norm, feed-forward in, feed-forward out, output norm. `head` are the
    classifier's dense layers from the first token to the logits, with `head_activation` between them.
    """

    prefix: str
    layer: str
    parts: tuple[str, str, str, str, str, str, str, str]
    head: tuple[str, str]
    head_activation: str
    has_token_types: bool
    positions_after_padding: bool
    size_keys: tuple[str, str, str, str] = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    )
    activation_key: str = "hidden_act"


_BERT_PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_DISTILBERT_PARTS = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
_ROBERTA = Family(
    "roberta.", "encoder.layer", _BERT_PARTS, ("classifier.dense", "classifier.out_proj"), "Tanh", True, True
)
FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert.", "encoder.layer", _BERT_PARTS, ("bert.pooler.dense", "classifier"), "Tanh", True, False),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Family(
        "distilbert.",
        "transformer.layer",
        _DISTILBERT_PARTS,
        ("pre_classifier", "classifier"),
        "Relu",
        False,
        False,
        ("dim", "n_layers", "n_heads", "hidden_dim"),
        "activation",
    ),
}
# Buffers that older versions of transformers saved; they hold 0, 1, 2, … and are not read.
IGNORED_TENSORS = (r".*\.position_ids", r".*embeddings\.token_type_ids")
_ACTIVATIONS = ("gelu", "gelu_new", "relu")


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier's sizes: all counts at least 1. `pad_id` shifts positions where the family counts them after it."""

    family: Family
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    token_types: int
    labels: int
    pad_id: int
    activation: str
    epsilon: float

    @property
    def max_tokens(self) -> int:
        """How many tokens have a position."""
        return self.positions - (self.pad_id + 1 if self.family.positions_after_padding else 0)


def read_classifier(config: Mapping[str, Any], labels: int, where: Path) -> Classifier:
    """A checkpoint's config.json as sizes; `labels` is the classifier's number of labels.

    Raises:
        UsageError: the model is of another family or uses something that the graph does not have.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise UsageError(f"{where}: {unknown_name('supported model_type', str(kind), FAMILIES)}")
    family = FAMILIES[kind]
    activation = config.get(family.activation_key, "gelu")
    if activation not in _ACTIVATIONS:
        raise UsageError(f"{where}: {unknown_name('supported activation', str(activation), _ACTIVATIONS)}")
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder", False):
        raise UsageError(f"{where}: only encoders with absolute positions are supported")
    try:
        hidden, layers, heads, feed_forward = (_count(config, key) for key in family.size_keys)
        model = Classifier(
            family=family,
            vocabulary=_count(config, "vocab_size"),
            hidden=hidden,
            layers=layers,
            heads=heads,
            feed_forward=feed_forward,
            positions=_count(config, "max_position_embeddings"),
            token_types=_count(config, "type_vocab_size") if family.has_token_types else 0,
            labels=labels,
            pad_id=int(config.get("pad_token_id") or 0),
            activation=activation,
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: lacks a sound value for {error}; restore the configuration") from error
    if hidden % heads or model.max_tokens < 1:
        raise UsageError(
            f"{where}: hidden size {hidden}, {heads} heads and {model.positions} positions do not fit together"
        )
    return model


def expected_tensors(model: Classifier) -> dict[str, Shape]:
    """The tensors of the model's checkpoint and their shapes."""
    family, hidden = model.family, model.hidden
    embeddings = family.prefix + "embeddings."
    shapes: dict[str, Shape] = {
        embeddings + "word_embeddings.weight": (model.vocabulary, hidden),
        embeddings + "position_embeddings.weight": (model.positions, hidden),
        embeddings + "LayerNorm.weight": (hidden,),
        embeddings + "LayerNorm.bias": (hidden,),
    }
    if family.has_token_types:
        shapes[embeddings + "token_type_embeddings.weight"] = (model.token_types, hidden)
    widths = (hidden, hidden, hidden, hidden, 0, model.feed_forward, hidden, 0)
    for names in layer_names(model):
        for index, (name, width) in enumerate(zip(names, widths, strict=True)):
            takes = model.feed_forward if index == 6 else hidden
            shapes[name + ".weight"] = (width, takes) if width else (hidden,)
            shapes[name + ".bias"] = (width or hidden,)
    for name, width in zip(family.head, (hidden, model.labels), strict=True):
        shapes[name + ".weight"], shapes[name + ".bias"] = (width, hidden), (width,)
    return shapes


def layer_names(model: Classifier) -> Iterator[tuple[str, ...]]:
    """Each layer's tensors without `.weight` and `.bias`, in the order of `Family.parts`."""
    family = model.family
    for index in range(model.layers):
        yield tuple(f"{family.prefix}{family.layer}.{index}.{part}" for part in family.parts)


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config[key]
    if not isinstance(value, int) or value < 1:
        raise ValueError(key)
    return value
