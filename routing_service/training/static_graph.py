"""Writes the ONNX graph of a `static` router: token ids and byte counts in, a calibrated strong win rate out.

    token_ids (B, T) int32 --Gather--> table (int8) --Cast int32, ReduceSum over T--> sums --+
                                                                                             +-> ratios -> trees -> p
    byte_counts (B, 256) int64 --MatMul with 0/1--> counts ----------------------------------+

Sums are of integers, ratios are single divisions, and leaf values add up exactly (see `gbm_onnx`), so a prompt's score
does not depend on its neighbours in the batch nor on padding. Padding is id -1, which ONNX reads as the last row, all
zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from routing_service.training.static_features import byte_class_matrix

OPSET, ML_OPSET, IR_VERSION = 17, 3, 9


def build_graph(table: npt.NDArray[np.int8], trees: dict[str, Any]) -> bytes:
    """The serialised model.

    Args:
        table: one row a word piece, (pieces, columns); the last column is all ones. The zero row for padding is added.
        trees: from `gbm_onnx.tree_attributes`; their features are those of `static_features.features`.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(op, inputs.split(), [output], name=output, **attributes)

    nodes = [
        node("Gather", "token_table token_ids", "token_rows"),
        node("Cast", "token_rows", "token_integers", to=TensorProto.INT32),
        node("ReduceSum", "token_integers axis_one", "token_totals", keepdims=0),
        node("Cast", "token_totals", "token_sums", to=TensorProto.FLOAT),
        node("Gather", "token_sums last", "token_count", axis=1),
        node("Max", "token_count one", "tokens"),
        node("Div", "token_sums tokens", "token_means"),
        node("Cast", "byte_counts", "bytes_float", to=TensorProto.FLOAT),
        node("MatMul", "bytes_float byte_classes", "byte_sums"),
        node("Gather", "byte_sums last", "byte_count", axis=1),
        node("Max", "byte_count one", "size"),
        node("Div", "byte_sums size", "byte_means"),
        node("Div", "size tokens", "bytes_per_token"),
        node("Concat", "token_means tokens byte_means byte_sums bytes_per_token", "features", axis=1),
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["log_odds"], name="log_odds", domain="ai.onnx.ml", **trees
        ),
        node("Expand", "log_odds lanes", "log_odds_lanes"),
        node("Sigmoid", "log_odds_lanes", "win_rate_lanes"),
        node("Gather", "win_rate_lanes first", "strong_win_rate", axis=1),
    ]
    padded = np.concatenate([table, np.zeros((1, table.shape[1]), np.int8)])
    constants = {
        "token_table": padded,
        "byte_classes": byte_class_matrix(),
        "axis_one": np.array([1], np.int64),
        # A vectorised logistic may round the last few numbers of an array otherwise than those before them. Sixteen
        # equal lanes a prompt fill the vectors of any machine, so that there are no last few.
        "lanes": np.array([1, 16], np.int64),
        "first": np.array(0, np.int64),
        "last": np.array([-1], np.int64),
        "one": np.array(1, np.float32),
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
