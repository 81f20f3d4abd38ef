"""Writes the ONNX graph of a `static` router: token ids and byte counts in, a calibrated strong win rate out.

    token_ids (B, T) int32 --Gather--> rows of the table --ReduceSum over T--> sums ----> shares --+
                                                                                                   +--> trees --> p
    byte_counts (B, 256) int64 --Cast float--> counts --+-------------------------------> shares --+
                                                        +------------------------------------------+

Sums are of integers, shares are single divisions, and leaf values add up exactly (see `trees`), so a prompt's score
does not depend on its neighbours in the batch nor on padding. Padding is id -1, which ONNX reads as the last row, all
zeros.

The graph is short and the trees are few because a server's caches are cold: what a prompt costs there is fetching each
node's code and each tree's path from memory, not computing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from routing_lab.training.static.features import Float32

OPSET, ML_OPSET, IR_VERSION = 17, 3, 9


def build_graph(table: Float32, trees: dict[str, Any]) -> bytes:
    """The serialised model.

    Args:
        table: one row a word piece, (pieces, columns), from `model.component_table`. The zero row for padding is
            added.
        trees: from `trees.tree_attributes`; their features are those of `features.graph_columns`.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    # ONNX Runtime applies the logistic function only where there are several targets; the second has no leaves. It does
    # so a number at a time, unlike Sigmoid, which may round the last few numbers of an array otherwise than the others.
    logistic = trees | {"n_targets": 2, "base_values": [*trees["base_values"], 0.0], "post_transform": "LOGISTIC"}

    def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(op, inputs.split(), [output], name=output, **attributes)

    # LpNormalization divides by the total of absolute values; all of these are non-negative.
    nodes = [
        node("Gather", "token_table token_ids", "token_rows"),
        node("ReduceSum", "token_rows axis_one", "token_sums", keepdims=0),
        node("LpNormalization", "token_sums", "token_shares", p=1, axis=1),
        node("Cast", "byte_counts", "bytes_float", to=TensorProto.FLOAT),
        node("LpNormalization", "bytes_float", "byte_shares", p=1, axis=1),
        node("Concat", "token_shares byte_shares bytes_float", "features", axis=1),
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["win_rates"], name="win_rates", domain="ai.onnx.ml", **logistic
        ),
        node("Gather", "win_rates first", "strong_win_rate", axis=1),
    ]
    constants = {
        "token_table": np.concatenate([table, np.zeros((1, table.shape[1]), np.float32)]),
        "axis_one": np.array([1], np.int64),
        "first": np.array(0, np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "static_router",
        [
            helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["batch", "tokens_read"]),
            helper.make_tensor_value_info("byte_counts", TensorProto.INT64, ["batch", 256]),
        ],
        [helper.make_tensor_value_info("strong_win_rate", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="routing-service",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
