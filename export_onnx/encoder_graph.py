"""The ONNX graph of a BERT-like sentence encoder: the layers of `bert_layers`, then pooling and normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from export_onnx.bert_config import Classifier, Shape, expected_tensors, layer_names, read_classifier
from export_onnx.bert_layers import Load, attention_bias, by_prompt, embeddings, layer
from export_onnx.graph import FLOAT, INT64, GraphWriter
from export_onnx.quantize import Precision

Pooling = Literal["mean", "cls"]


def read_encoder(config: Mapping[str, Any], shapes: Mapping[str, Shape], where: Path) -> Classifier:
    """A checkpoint's config.json as sizes. Its tensors may be named with the family's prefix or without.

    Raises:
        UsageError: the model is of a family that is not supported.
    """
    model = read_classifier(config, 1, where)
    prefixed = any(name.startswith(model.family.prefix) for name in shapes)
    return model if prefixed else replace(model, family=replace(model.family, prefix=""))


def encoder_tensors(model: Classifier) -> dict[str, Shape]:
    """The tensors that the encoder's checkpoint must hold, and their shapes: a classifier's without its head."""
    head = tuple(f"{name}." for name in model.family.head)
    return {name: shape for name, shape in expected_tensors(model).items() if not name.startswith(head)}


def write_graph(
    path: Path, model: Classifier, load: Load, precision: Precision, pooling: Pooling, *, normalize: bool
) -> list[str]:
    """Write the graph: int64 `input_ids` and `attention_mask` (texts, tokens) to float32 `embedding` (texts, hidden).

    Args:
        path: the graph's file.
        model: the encoder's sizes.
        load: gives a tensor by its name.
        precision: what weights are stored as; pooling is in float32.
        pooling: the mean of the tokens' last hidden states, or the first token's.
        normalize: whether to divide a vector by its length.

    Returns:
        The names of the files written.
    """
    graph = GraphWriter(path, precision)
    ids, mask = "input_ids", "attention_mask"
    rows = embeddings(graph, model, load, ids)
    bias = attention_bias(graph, mask)
    for names in layer_names(model):
        rows = layer(graph, model, load, names, rows, bias, first_only=False)
    hidden = graph.cast(by_prompt(graph, rows), FLOAT)
    pooled = (
        graph.op("Gather", hidden, graph.constant("first", 0), axis=1)
        if pooling == "cls"
        else _mean(graph, hidden, mask)
    )
    if normalize:
        length = graph.op("ReduceL2", pooled, graph.constant("hidden_axis", [-1]), keepdims=1)
        pooled = graph.op("Div", pooled, graph.op("Max", length, graph.constant("min_length", 1e-12, np.float32)))
    graph.op("Identity", pooled, name="embedding")
    ids_type = (INT64, ("texts", "tokens"))
    return graph.finish({ids: ids_type, mask: ids_type}, {"embedding": (FLOAT, ("texts", model.hidden))})


def _mean(graph: GraphWriter, hidden: str, mask: str) -> str:
    """The mean over the tokens that are there, (texts, hidden), of (texts, tokens, hidden). A text has at least one."""
    tokens_axis = graph.constant("pooled_axis", [1])
    there = graph.op("Unsqueeze", graph.cast(mask, FLOAT), graph.constant("mask_axis", [-1]))
    total = graph.op("ReduceSum", graph.op("Mul", hidden, there), tokens_axis, keepdims=0)
    return graph.op("Div", total, graph.op("ReduceSum", there, tokens_axis, keepdims=0))
