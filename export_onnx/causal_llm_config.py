"""Decoders of Llama's kind: what config.json says, and the tensors that must be there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.errors import UsageError, unknown_name

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]

MODEL_TYPES = ("llama", "mistral")
# Buffers that older versions of transformers saved; they follow from the configuration.
IGNORED_TENSORS = (r".*\.rotary_emb\.inv_freq",)


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder's sizes, all at least 1. `frequencies` are the rotary angles a position, of shape (head_size / 2,)."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    feed_forward: int
    positions: int
    epsilon: float
    attention_bias: bool
    feed_forward_bias: bool
    tied: bool
    frequencies: Array


def read_decoder(config: Mapping[str, Any], where: Path) -> Decoder:
    """A checkpoint's config.json as sizes.

    Raises:
        UsageError: the model is of another family or uses something that the graph does not have.
    """
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise UsageError(f"{where}: {unknown_name('supported model_type', str(kind), MODEL_TYPES)}")
    if config.get("hidden_act", "silu") != "silu" or config.get("pretraining_tp", 1) != 1:
        raise UsageError(f"{where}: only Llama's silu activation and pretraining_tp 1 are supported")
    try:
        heads, hidden = _count(config, "num_attention_heads"), _count(config, "hidden_size")
        model = Decoder(
            vocabulary=_count(config, "vocab_size"),
            hidden=hidden,
            layers=_count(config, "num_hidden_layers"),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            feed_forward=_count(config, "intermediate_size"),
            positions=_count(config, "max_position_embeddings"),
            epsilon=float(config.get("rms_norm_eps", 1e-6)),
            attention_bias=bool(config.get("attention_bias", False)),
            feed_forward_bias=bool(config.get("mlp_bias", False)),
            tied=bool(config.get("tie_word_embeddings", False)),
            frequencies=_frequencies(config, int(config.get("head_dim") or hidden // heads), where),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: lacks a sound value for {error}; restore the configuration") from error
    if model.heads % model.kv_heads or model.head_size % 2:
        raise UsageError(
            f"{where}: {heads} heads, {model.kv_heads} key-value heads and head size {model.head_size} do not fit"
        )
    if (window := config.get("sliding_window")) is not None and window < model.positions:
        raise UsageError(f"{where}: attention over a sliding window of {window} tokens is not supported")
    return model


def expected_tensors(model: Decoder) -> dict[str, Shape]:
    """The tensors of the model's checkpoint and their shapes."""
    hidden, wide = model.hidden, model.feed_forward
    queries, keys = model.heads * model.head_size, model.kv_heads * model.head_size
    shapes: dict[str, Shape] = {"model.embed_tokens.weight": (model.vocabulary, hidden), "model.norm.weight": (hidden,)}
    if not model.tied:
        shapes["lm_head.weight"] = (model.vocabulary, hidden)
    dense = {
        "self_attn.q_proj": (queries, hidden, model.attention_bias),
        "self_attn.k_proj": (keys, hidden, model.attention_bias),
        "self_attn.v_proj": (keys, hidden, model.attention_bias),
        "self_attn.o_proj": (hidden, queries, model.attention_bias),
        "mlp.gate_proj": (wide, hidden, model.feed_forward_bias),
        "mlp.up_proj": (wide, hidden, model.feed_forward_bias),
        "mlp.down_proj": (hidden, wide, model.feed_forward_bias),
    }
    for index in range(model.layers):
        layer = f"model.layers.{index}."
        for name, (width, takes, biased) in dense.items():
            shapes[f"{layer}{name}.weight"] = (width, takes)
            if biased:
                shapes[f"{layer}{name}.bias"] = (width,)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{layer}{name}.weight"] = (hidden,)
    return shapes


def _frequencies(config: Mapping[str, Any], head_size: int, where: Path) -> Array:
    """Rotary angles a position. `rope_parameters` is today's key; `rope_theta` and `rope_scaling` are older ones."""
    rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    frequencies = theta ** (-np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size))
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "linear":
        frequencies = frequencies / float(rope["factor"])
    elif kind == "llama3":
        frequencies = _llama3(frequencies, rope)
    elif kind != "default":
        raise UsageError(f"{where}: {unknown_name('supported rope_type', str(kind), ('default', 'linear', 'llama3'))}")
    return frequencies.astype(np.float32)


def _llama3(frequencies: Array, rope: Mapping[str, Any]) -> Array:
    """Llama 3.1's stretch of long wavelengths: https://arxiv.org/abs/2407.21783, section 3.4.2."""
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    turns = float(rope["original_max_position_embeddings"]) * frequencies / (2 * math.pi)
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    stretched: Array = (1 - smooth) * frequencies / factor + smooth * frequencies
    return stretched


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config[key]
    if not isinstance(value, int) or value < 1:
        raise ValueError(key)
    return value
