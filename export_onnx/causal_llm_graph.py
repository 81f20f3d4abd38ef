"""The ONNX graph of a Llama that rates prompts: one step of greedy decoding with a key-value cache.

The layers are Llama's (arXiv 2302.13971): RMS norm, attention with rotary positions (arXiv 2104.09864) and grouped
queries (arXiv 2305.13245), RMS norm, gated feed-forward. All operators are standard ONNX, so that every execution
provider has them. Only the last token's next token is wanted, so that the last layer computes keys and values for all
tokens and everything else for the last alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from export_onnx.causal_llm_config import Array, Decoder
from export_onnx.graph import BOOL, FLOAT, INT64, GraphWriter
from export_onnx.quantize import Precision

Load = Callable[[str], Array]

# Finite, as a row of a padded batch may see nothing at all; large enough that its exponential is exactly 0.
_MASKED = {"fp32": -1e30, "int8": -1e30, "fp16": -6e4}


def write_graph(
    path: Path, model: Decoder, load: Load, precision: Precision, rating_ids: Sequence[int], score_threshold: int
) -> list[str]:
    """Write the graph.

    It reads `input_ids`, int64 (prompts, tokens), `attention_mask`, int64 (prompts, past + tokens), and of each layer i
    `past_key_values.{i}.key` and `.value`, (prompts, key-value heads, past, head size). It gives `next_token`, int64
    (prompts,), the likeliest; `strong_win_rate`, float32 (prompts,), one minus the probability, among the ratings, of
    `score_threshold` and above; and `present.{i}.key` and `.value`, the cache with the new tokens. Rows are padded on
    the left. The cache is float16 in fp16, else float32.

    Returns:
        The names of the files written.
    """
    writer = _DecoderWriter(GraphWriter(path, precision), model, load, precision)
    return writer.write(rating_ids, score_threshold)


class _DecoderWriter:
    """Adds the nodes of one decoder. Hidden states are kept as (rows, hidden), a row for each token of each prompt."""

    def __init__(self, graph: GraphWriter, model: Decoder, load: Load, precision: Precision) -> None:
        self.graph, self.model, self.load = graph, model, load
        self._masked = _MASKED[precision]

    def write(self, rating_ids: Sequence[int], score_threshold: int) -> list[str]:
        graph, model = self.graph, self.model
        ids, mask = "input_ids", "attention_mask"
        self._positions_and_mask(ids, mask)
        table = self.load("model.embed_tokens.weight")
        embedded = graph.embedding(ids, "embed_tokens", table)
        rows = graph.op("Reshape", embedded, graph.constant("by_row", [-1, model.hidden]))
        for index in range(model.layers):
            rows = self._layer(index, rows, last=index == model.layers - 1)
        rows = self._norm(rows, "model.norm.weight")
        head = table if model.tied else self.load("lm_head.weight")
        graph.op("ArgMax", graph.linear(rows, "lm_head", head), name="next_token", axis=-1, keepdims=0)
        # The ratings' few rows stay in floats in an int8 graph: rounding them costs the most and saves nothing.
        ratings = graph.linear(rows, "ratings", head[list(rating_ids)], in_floats=True)
        self._win_rate(ratings, len(rating_ids), score_threshold)
        int_type, float_type = INT64, graph.float_type
        past: dict[str, tuple[int, Sequence[int | str]]] = {}
        present: dict[str, tuple[int, Sequence[int | str]]] = {}
        for index in range(model.layers):
            for part in ("key", "value"):
                shape = ("prompts", model.kv_heads)
                past[f"past_key_values.{index}.{part}"] = (float_type, (*shape, "past", model.head_size))
                present[f"present.{index}.{part}"] = (float_type, (*shape, "total", model.head_size))
        return graph.finish(
            {ids: (int_type, ("prompts", "tokens")), mask: (int_type, ("prompts", "total")), **past},
            {"next_token": (int_type, ("prompts",)), "strong_win_rate": (FLOAT, ("prompts",)), **present},
        )

    def _positions_and_mask(self, ids: str, mask: str) -> None:
        """Name what all layers share: shapes, cosines and sines (prompts, tokens, 1, half), the attention's bias."""
        graph, model = self.graph, self.model
        prompts, tokens = (
            graph.op("Gather", graph.op("Shape", ids), graph.constant(f"at_{axis}", [axis]), name=name)
            for axis, name in ((0, "prompts"), (1, "tokens"))
        )
        total = graph.op("Gather", graph.op("Shape", mask), graph.constant("at_1", [1]))
        past = graph.op("Sub", total, tokens)
        for name, count in (("queries", model.heads), ("keys", model.kv_heads)):
            sizes = graph.constant(f"{name}_sizes", [count, model.head_size])
            graph.op("Concat", prompts, tokens, sizes, name=f"by_{name}", axis=0)
        # Positions count the tokens that are no padding.
        counted = graph.op("CumSum", mask, graph.constant("tokens_axis", 1))
        counted = graph.op("Sub", counted, graph.constant("one", [1]))
        new = graph.op("Slice", counted, past, total, graph.constant("at_1", [1]))
        positions = graph.cast(graph.op("Max", new, graph.constant("zero", [0])), FLOAT)
        places = graph.op("Unsqueeze", positions, graph.constant("angle_axes", [2, 3]))
        angles = graph.op("Mul", places, graph.constant("frequencies", model.frequencies, np.float32))
        for kind in ("Cos", "Sin"):
            graph.cast(graph.op(kind, angles), name=kind.lower())
        # A token sees the real tokens up to itself.
        start, step = (graph.constant(f"scalar_{value}", value) for value in (0, 1))
        seen = graph.op("Range", start, graph.op("Squeeze", total), step)
        own = graph.op("Unsqueeze", graph.op("Slice", seen, past, total), graph.constant("at_1", [1]))
        causal = graph.op("LessOrEqual", seen, own)
        real = graph.op("Unsqueeze", graph.cast(mask, BOOL), graph.constant("at_1", [1]))
        visible = graph.op("Unsqueeze", graph.op("And", real, causal), graph.constant("head_axes", [1, 2]))
        graph.op("Where", visible, graph.number("visible", 0.0), graph.number("masked", self._masked), name="bias")
        graph.op(
            "Slice",
            "bias",
            graph.constant("minus_1", [-1]),
            graph.constant("end", [2**31]),
            graph.constant("at_3", [3]),
            name="last_bias",
        )

    def _layer(self, index: int, rows: str, *, last: bool) -> str:
        graph, model = self.graph, self.model
        name = f"model.layers.{index}."
        normed = self._norm(rows, name + "input_layernorm.weight")
        if last:
            rows, asking = self._last_tokens(rows), self._last_tokens(normed)
            queries = self._dense(asking, name + "self_attn.q_proj", in_floats=True)[0]
            keys, values = self._dense(normed, name + "self_attn.k_proj", name + "self_attn.v_proj")
            sizes = graph.constant("last_queries", [-1, 1, model.heads, model.head_size])
            cos, sin = (self._last_angles(kind) for kind in ("cos", "sin"))
        else:
            names = (name + f"self_attn.{part}_proj" for part in "qkv")
            queries, keys, values = self._dense(normed, *names)
            sizes, cos, sin = "by_queries", "cos", "sin"
        queries = self._rotate(graph.op("Reshape", queries, sizes), cos, sin)
        keys = self._rotate(graph.op("Reshape", keys, "by_keys"), "cos", "sin")
        values = graph.op("Reshape", values, "by_keys")
        keys, values = (self._cache(index, part, new) for part, new in (("key", keys), ("value", values)))
        attended = self._attend(queries, keys, values, "last_bias" if last else "bias")
        # What the last layer computes for the last token alone costs next to nothing, so it stays in floats in int8.
        rows = graph.op("Add", rows, self._dense(attended, name + "self_attn.o_proj", in_floats=last)[0])
        normed = self._norm(rows, name + "post_attention_layernorm.weight")
        gate, up = self._dense(normed, name + "mlp.gate_proj", name + "mlp.up_proj", in_floats=last)
        gated = graph.op("Mul", graph.op("Mul", gate, graph.op("Sigmoid", gate)), up)
        return graph.op("Add", rows, self._dense(gated, name + "mlp.down_proj", in_floats=last)[0])

    def _dense(self, x: str, *names: str, in_floats: bool = False) -> list[str]:
        graph = self.graph
        products = graph.linears(x, {name: self.load(name + ".weight") for name in names}, in_floats=in_floats)
        biased = self.model.feed_forward_bias if ".mlp." in names[0] else self.model.attention_bias
        if not biased:
            return products
        biases = (graph.weight(name + ".bias", self.load(name + ".bias")) for name in names)
        return [graph.op("Add", product, bias) for product, bias in zip(products, biases, strict=True)]

    def _norm(self, rows: str, name: str) -> str:
        """RMS norm, in float32 whatever the precision, as squares leave float16's range."""
        graph = self.graph
        wide = graph.cast(rows, FLOAT)
        square = graph.op("Pow", wide, graph.constant("two", 2, np.float32))
        mean = graph.op("ReduceMean", square, graph.constant("last_axis", [-1]), keepdims=1)
        root = graph.op("Sqrt", graph.op("Add", mean, graph.constant("epsilon", self.model.epsilon, np.float32)))
        normed = graph.cast(graph.op("Div", wide, root))
        return graph.op("Mul", normed, graph.weight(name, self.load(name)))

    def _rotate(self, x: str, cos: str, sin: str) -> str:
        """Rotary positions of `x`, (prompts, tokens, heads, head size): its halves are the pairs' two coordinates."""
        graph, half = self.graph, self.model.head_size // 2
        first, second = graph.ops(
            "Split", x, graph.constant("halves", [half, half]), names=graph.names("Split", 2), axis=-1
        )
        turned_first = graph.op("Sub", graph.op("Mul", first, cos), graph.op("Mul", second, sin))
        turned_second = graph.op("Add", graph.op("Mul", second, cos), graph.op("Mul", first, sin))
        return graph.op("Concat", turned_first, turned_second, axis=-1)

    def _cache(self, index: int, part: str, new: str) -> str:
        """The cache with the new keys or values: (prompts, key-value heads, total, head size)."""
        by_head = self.graph.op("Transpose", new, perm=[0, 2, 1, 3])
        return self.graph.op(
            "Concat", f"past_key_values.{index}.{part}", by_head, name=f"present.{index}.{part}", axis=2
        )

    def _attend(self, queries: str, keys: str, values: str, bias: str) -> str:
        """Attention of queries, (prompts, tokens, heads, head size), as rows of (heads x head size).

        The queries of the heads that share keys are stacked, so that keys and values are never repeated.
        """
        graph, model = self.graph, self.model
        group = model.heads // model.kv_heads
        by_head = graph.op("Transpose", queries, perm=[0, 2, 1, 3])
        stacked = graph.op("Reshape", by_head, graph.constant("stacked", [0, model.kv_heads, -1, model.head_size]))
        scaled = graph.op("Mul", stacked, graph.number("scale", 1 / math.sqrt(model.head_size)))
        scores = graph.op("MatMul", scaled, graph.op("Transpose", keys, perm=[0, 1, 3, 2]))
        # (prompts, key-value heads, group, tokens, total), which the bias of (prompts, 1, 1, tokens, total) fits.
        tail = graph.op("Slice", graph.op("Shape", bias), graph.constant("at_3", [3]), graph.constant("end", [2**31]))
        groups = graph.constant("groups", [model.kv_heads, group])
        apart = graph.op("Concat", "prompts", groups, tail, axis=0)
        weights = graph.op("Softmax", graph.op("Add", graph.op("Reshape", scores, apart), bias), axis=-1)
        together = graph.op("Reshape", weights, graph.op("Shape", scores))
        mixed = graph.op("MatMul", together, values)
        sizes = graph.constant("heads_apart", [0, model.heads, -1, model.head_size])
        by_token = graph.op("Transpose", graph.op("Reshape", mixed, sizes), perm=[0, 2, 1, 3])
        return graph.op("Reshape", by_token, graph.constant("attended", [-1, model.heads * model.head_size]))

    def _last_tokens(self, rows: str) -> str:
        """Of (rows, hidden) those of each prompt's last token: (prompts, hidden)."""
        graph = self.graph
        sizes = graph.op("Concat", "prompts", "tokens", graph.constant("width", [self.model.hidden]), axis=0)
        return graph.op("Gather", graph.op("Reshape", rows, sizes), graph.constant("last", -1), axis=1)

    def _last_angles(self, name: str) -> str:
        graph = self.graph
        end, axis = graph.constant("end", [2**31]), graph.constant("at_1", [1])
        return graph.op("Slice", name, graph.constant("minus_1", [-1]), end, axis)

    def _win_rate(self, ratings: str, count: int, score_threshold: int) -> None:
        graph = self.graph
        high = graph.constant("high_ratings", list(range(score_threshold - 1, count)))
        chosen = graph.op("Gather", graph.softmax_float32(ratings), high, axis=-1)
        weak = graph.op("ReduceSum", chosen, graph.constant("last_axis", [-1]), keepdims=0)
        zero, one = graph.constant("min_rate", 0, np.float32), graph.constant("max_rate", 1, np.float32)
        rate = graph.op("Sub", one, weak)
        graph.op("Clip", rate, zero, one, name="strong_win_rate")  # a sum may end a rounding beyond
