"""The layers of a BERT-like model as ONNX nodes: the embeddings, and then one layer after another.

They are those of arXiv 1810.04805: attention and a feed-forward network, each followed by a sum with its input and a
layer norm. Hidden states are kept as (rows, hidden), a row for each token of each prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from export_onnx.bert_config import Classifier
from export_onnx.graph import BOOL, FUSED, INT64, GraphWriter

Array = npt.NDArray[np.float32]
Load = Callable[[str], Array]


def embeddings(graph: GraphWriter, model: Classifier, load: Load, ids: str) -> str:
    """What the first layer reads, (rows, hidden), for token ids of shape (prompts, tokens)."""
    size = graph.constant("hidden_size", [model.hidden])
    graph.op("Concat", graph.op("Shape", ids), size, name="rows_by_prompt", axis=0)
    head_sizes = graph.constant("head_sizes", [model.heads, model.hidden // model.heads])
    graph.op("Concat", graph.op("Shape", ids), head_sizes, name="rows_by_head", axis=0)
    prefix = model.family.prefix + "embeddings."
    places = load(prefix + "position_embeddings.weight")
    if model.family.has_token_types:
        places = places + load(prefix + "token_type_embeddings.weight")[0]  # every token of a prompt is of type 0
    if model.family.positions_after_padding:
        pad = graph.constant("pad_id", model.pad_id)
        real = graph.cast(graph.op("Not", graph.op("Equal", ids, pad)), INT64)
        counted = graph.op("CumSum", real, graph.constant("tokens_axis", 1))
        positions = graph.op("Add", graph.op("Mul", counted, real), pad)
    else:
        length = graph.op("Gather", graph.op("Shape", ids), graph.constant("tokens_axis", 1))
        steps = graph.op("Range", graph.constant("zero", 0), length, graph.constant("one", 1))
        positions = graph.op("Unsqueeze", steps, graph.constant("batch_axis", [0]))
    words = graph.embedding(ids, "words", load(prefix + "word_embeddings.weight"))
    placed = graph.op("Gather", graph.weight("positions", places), positions, axis=0)
    normed = _add_and_norm(graph, model, load, prefix + "LayerNorm", words, placed)
    return graph.op("Reshape", normed, graph.constant("by_row", [-1, model.hidden]))


def attention_bias(graph: GraphWriter, mask: str) -> str:
    """What is added to attention's scores: 0 for a token and next to minus infinity for padding.

    `mask` is int64 (prompts, tokens), 1 for a token and 0 for padding; the bias has the shape (prompts, 1, 1, tokens).
    """
    real = graph.op("Unsqueeze", graph.cast(mask, BOOL), graph.constant("head_axes", [1, 2]))
    lowest = -6e4 if graph.precision == "fp16" else -1e30  # finite in the type, and its exponential is exactly 0
    return graph.op("Where", real, graph.number("seen", 0.0), graph.number("unseen", lowest))


def layer(
    graph: GraphWriter, model: Classifier, load: Load, names: tuple[str, ...], rows: str, bias: str, *, first_only: bool
) -> str:
    """One layer, from hidden states of shape (rows, hidden) to the same, or to the first token's of each prompt.

    `names` are the layer's, of `layer_names`; `bias` is `attention_bias`'s.
    """
    *projections, output, attention_norm, inner, outer, output_norm = names
    asking = graph.op("Gather", by_prompt(graph, rows), graph.constant("first", 0), axis=1) if first_only else rows
    attended = _attention(graph, model, load, projections, rows, asking, bias, first_only=first_only)
    projection = load(output + ".weight")
    projected = graph.linear(attended, output, projection)
    # Attention's weights add up to 1, so the values' bias passes through it and can be added here.
    passed = load(output + ".bias") + projection @ load(projections[2] + ".bias")
    middle = _add_and_norm(graph, model, load, attention_norm, projected, asking, passed)
    widened = graph.linear(middle, inner, load(inner + ".weight"))
    active = _activation(graph, model.activation, widened, graph.weight(inner + ".bias", load(inner + ".bias")))
    narrowed = graph.linear(active, outer, load(outer + ".weight"))
    return _add_and_norm(graph, model, load, output_norm, narrowed, middle, load(outer + ".bias"))


def by_prompt(graph: GraphWriter, rows: str) -> str:
    """(rows, hidden) as (prompts, tokens, hidden)."""
    return graph.op("Reshape", rows, "rows_by_prompt")


def _attention(
    graph: GraphWriter,
    model: Classifier,
    load: Load,
    projections: Sequence[str],
    rows: str,
    asking: str,
    bias: str,
    *,
    first_only: bool,
) -> str:
    """Attention of the rows `asking` over `rows`, as rows of (hidden), without the values' bias.

    Of standard operators: ONNX Runtime 1.20's fused one misreads the mask of a batch on a CPU, and is no faster there.
    The keys' bias is left out, as it adds the same to all of a query's scores, which softmax takes away again.
    """
    query, key, value = projections
    heads, size = model.heads, model.hidden // model.heads
    scale = 1 / math.sqrt(size)
    weights = {name: load(name + ".weight") for name in (key, value)}
    scaled = {query: load(query + ".weight") * scale}
    if first_only:
        queries = graph.linears(asking, scaled)[0]
        keys, values = graph.linears(rows, weights)
    else:
        queries, keys, values = graph.linears(rows, scaled | weights)
    queries = graph.op("Add", queries, graph.weight(query + ".bias", load(query + ".bias") * scale))
    if first_only:
        queries = graph.op("Reshape", queries, graph.constant("first_by_head", [-1, heads, 1, size]))
    else:
        queries = graph.op("Transpose", graph.op("Reshape", queries, "rows_by_head"), perm=[0, 2, 1, 3])
    keys = graph.op("Transpose", graph.op("Reshape", keys, "rows_by_head"), perm=[0, 2, 3, 1])
    values = graph.op("Transpose", graph.op("Reshape", values, "rows_by_head"), perm=[0, 2, 1, 3])
    scores = graph.op("Add", graph.op("MatMul", queries, keys), bias)
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), values)
    together = graph.op("Transpose", mixed, perm=[0, 2, 1, 3])
    return graph.op("Reshape", together, graph.constant("by_row", [-1, model.hidden]))


def _add_and_norm(
    graph: GraphWriter, model: Classifier, load: Load, norm: str, x: str, skip: str, bias: Array | None = None
) -> str:
    # Sum, as ONNX Runtime turns Add and LayerNormalization into SkipLayerNormalization, which on a CPU takes four times
    # as long as the two by themselves.
    terms = [x, skip, *([graph.weight(norm + ".input_bias", bias)] if bias is not None else [])]
    total = graph.op("Sum", *terms)
    scale = graph.weight(norm + ".weight", load(norm + ".weight"))
    shift = graph.weight(norm + ".bias", load(norm + ".bias"))
    return graph.op("LayerNormalization", total, scale, shift, axis=-1, epsilon=model.epsilon)


def _activation(graph: GraphWriter, kind: str, x: str, bias: str) -> str:
    if kind == "gelu":
        return graph.op("BiasGelu", x, bias, domain=FUSED)
    if kind == "gelu_new":
        return graph.op("FastGelu", x, bias, domain=FUSED)
    return graph.op("Relu", graph.op("Add", x, bias))
