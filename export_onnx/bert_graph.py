"""The ONNX graph of a BERT-like sequence classifier that gives win rates.

Only the first token's last hidden state is classified, so that the last layer computes keys and values for all tokens
and everything else for the first alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export_onnx.bert_config import Classifier, layer_names
from export_onnx.bert_layers import Load, attention_bias, embeddings, layer
from export_onnx.graph import FLOAT, INT64, GraphWriter
from export_onnx.quantize import Precision


def write_graph(path: Path, model: Classifier, load: Load, precision: Precision, strong_label: int | None) -> list[str]:
    """Write the graph, from int64 `input_ids` and `attention_mask` (prompts, tokens) to float32 `strong_win_rate`.

    The win rate is the probability of `strong_label`, or, when that is None, one minus that of the last two labels.

    Returns:
        The names of the files written.
    """
    graph = GraphWriter(path, precision)
    ids, mask = "input_ids", "attention_mask"
    rows = embeddings(graph, model, load, ids)
    bias = attention_bias(graph, mask)
    *body, last = layer_names(model)
    for names in body:
        rows = layer(graph, model, load, names, rows, bias, first_only=False)
    first = layer(graph, model, load, last, rows, bias, first_only=True)
    probabilities = graph.softmax_float32(_head(graph, model, load, first))
    _win_rate(graph, probabilities, model.labels, strong_label)
    ids_type = (INT64, ("prompts", "tokens"))
    return graph.finish({ids: ids_type, mask: ids_type}, {"strong_win_rate": (FLOAT, ("prompts",))})


def _head(graph: GraphWriter, model: Classifier, load: Load, first: str) -> str:
    """From the first token's last hidden state, (prompts, hidden), to logits of shape (prompts, labels).

    It stays in floats in an int8 graph: it is tiny, and rounding the logits costs the most.
    """
    dense, out = model.family.head
    x = first
    for name in (dense, out):
        product = graph.linear(x, name, load(name + ".weight"), in_floats=True)
        x = graph.op("Add", product, graph.weight(name + ".bias", load(name + ".bias")))
        if name == dense:
            x = graph.op(model.family.head_activation, x)
    return x


def _win_rate(graph: GraphWriter, probabilities: str, labels: int, strong_label: int | None) -> None:
    axes = graph.constant("label_axis", [-1])
    wanted = graph.constant("wanted_labels", [labels - 2, labels - 1] if strong_label is None else [strong_label])
    rate = graph.op("ReduceSum", graph.op("Gather", probabilities, wanted, axis=-1), axes, keepdims=0)
    zero, one = graph.constant("min_rate", 0, np.float32), graph.constant("max_rate", 1, np.float32)
    if strong_label is None:
        rate = graph.op("Sub", one, rate)
    graph.op("Clip", rate, zero, one, name="strong_win_rate")  # a sum may end a rounding beyond
