"""Writes the ONNX graph of a `static` router: the pieces and counts of one prompt in, a strong win rate out.

    token_ids (T,) int32 --Gather--> rows, kinds --ReduceSum--> sums --+
                                                                      +--> shares, logarithms --> networks --> log-odds
    counts (1, 262) int64 --MatMul--> groups of counts ---------------+

It runs for one prompt at a time: what a matrix product gives for a row may depend on the rows beside it, and a prompt's
score must not depend on its neighbours. The features are those of `features.features`, the rest is `heads.Heads`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from routing_lab.training.static.features import DAMPING, count_groups
from routing_lab.training.static.heads import (
    DIFFERENT,
    FRAGMENTS,
    GATE_RAMP,
    PRIOR_LOG_ODDS,
    TRIVIAL_RAMP,
    UNDERSTOOD,
    Heads,
    signal_columns,
    topic_log_odds,
)
from routing_lab.training.static.table import SCALE, StaticTable
from routing_lab.training.static.topics import TOPICS, TRIVIAL_LOG_ODDS
from routing_service.routers.static_pieces import EXTRA_COUNTS

OPSET, IR_VERSION = 17, 9


def build_graph(table: StaticTable, heads: Heads) -> bytes:
    """The serialised model; `static` reads `strong_win_rate`, float32 (1,), and may read `signal` and `topics`."""
    from onnx import TensorProto, checker, helper, numpy_helper

    def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
        return helper.make_node(op, inputs.split(), outputs.split(), name=outputs.split(maxsplit=1)[0], **attributes)

    def ramp(name: str, between: tuple[float, float]) -> list[Any]:
        low, high = between
        slope = 1 / (high - low)
        return [
            node("Sigmoid", f"{name}_out", f"{name}_share"),
            node("HardSigmoid", f"{name}_share", name, alpha=slope, beta=-low * slope),
        ]

    def mix(start: str, end: str, share: str, name: str) -> list[Any]:
        return [
            node("Sub", f"{end} {start}", f"{name}_difference"),
            node("Mul", f"{name}_difference {share}", f"{name}_step"),
            node("Add", f"{start} {name}_step", name),
        ]

    (low, high), (fragment, different) = FRAGMENTS, signal_columns(table.components)
    groups = count_groups()
    components, classes = table.components, table.classes.shape[1]
    columns = components + 1 + classes + groups.shape[1]
    # What each number is divided by: the weights, the pieces, the bytes.
    divisors = np.array(
        [components] * components + [components + 1] * (1 + classes) + [columns - 1] * groups.shape[1], np.int64
    )
    added = np.array([DAMPING] * components + [0] * (1 + classes) + [1] * groups.shape[1], np.float32)
    nodes = [
        node("Gather", "piece_rows token_ids", "rows"),
        node("Cast", "rows", "rows_float", to=TensorProto.FLOAT),
        node("ReduceSum", "rows_float axis_zero", "row_sums", keepdims=1),
        node("Gather", "piece_kinds token_ids", "kinds"),
        node("Gather", "kind_classes kinds", "classes"),
        node("ReduceSum", "classes axis_zero", "class_sums", keepdims=1),
        node("Cast", "counts", "counts_float", to=TensorProto.FLOAT),
        node("MatMul", "counts_float count_groups", "groups"),
        node("Concat", "row_sums class_sums groups", "sums", axis=1),
        node("Gather", "sums divisors", "divisor_sums", axis=1),
        node("Add", "divisor_sums divisor_added", "divided_by"),
        node("Div", "sums divided_by", "shares"),
        node("Slice", "sums first_sum end_sum axis_one", "logged"),
        node("Add", "logged one", "logged_one"),
        node("Log", "logged_one", "logarithms"),
        node("Concat", "shares logarithms", "features", axis=1),
        node("Max", "features low", "features_low"),
        node("Min", "features_low high", "limited"),
        node("Gemm", "limited w1 b1", "hidden_sums"),
        node("Relu", "hidden_sums", "hidden"),
        node("Gemm", "hidden w2 b2", "outputs"),
        node("Split", "outputs sizes", "exam gate_out trivial_out topic_outputs", axis=1),
        node("Softmax", "topic_outputs", "topics", axis=1),
        node("MatMul", "topics topic_log_odds", "topic"),
        *ramp("gate", GATE_RAMP),
        *ramp("trivial", TRIVIAL_RAMP),
        *mix("topic", "trivial_log_odds", "trivial", "ask"),
        *mix("ask", "exam", "gate", "blended"),
        node("Gather", "sums weight_column", "weight", axis=1),
        node("HardSigmoid", "weight", "enough", alpha=1 / (SCALE * UNDERSTOOD), beta=0.0),
        node("Gather", "shares fragment_column", "fragments", axis=1),
        node("HardSigmoid", "fragments", "words", alpha=-1 / (high - low), beta=high / (high - low)),
        node("Gather", "shares different_column", "different", axis=1),
        node("HardSigmoid", "different", "no_repetition", alpha=1 / DIFFERENT, beta=0.0),
        node("Mul", "enough words", "enough_words"),
        node("Mul", "enough_words no_repetition", "signal"),
        *mix("prior", "blended", "signal", "log_odds"),
        node("Sigmoid", "log_odds", "win_rates"),
        node("Reshape", "win_rates flat", "strong_win_rate"),
    ]
    constants: dict[str, Any] = {
        "piece_rows": table.rows,
        "piece_kinds": table.kinds,
        "kind_classes": table.classes,
        "axis_zero": np.array([0], np.int64),
        "axis_one": np.array([1], np.int64),
        "count_groups": groups,
        "divisors": divisors,
        "divisor_added": added[None],
        "first_sum": np.array([components], np.int64),
        "end_sum": np.array([columns], np.int64),
        "one": np.ones((1, 1), np.float32),
        "low": heads.low[None],
        "high": heads.high[None],
        "w1": heads.w1,
        "b1": heads.b1,
        "w2": heads.w2,
        "b2": heads.b2,
        "sizes": np.array([1, 1, 1, len(TOPICS)], np.int64),
        "topic_log_odds": topic_log_odds()[:, None],
        "trivial_log_odds": np.array([[TRIVIAL_LOG_ODDS]], np.float32),
        "weight_column": np.array([components], np.int64),
        "fragment_column": np.array([fragment], np.int64),
        "different_column": np.array([different], np.int64),
        "prior": np.array([[PRIOR_LOG_ODDS]], np.float32),
        "flat": np.array([-1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "static_router",
        [
            helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["tokens_read"]),
            helper.make_tensor_value_info("counts", TensorProto.INT64, [1, 256 + EXTRA_COUNTS]),
        ],
        [
            helper.make_tensor_value_info("strong_win_rate", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("signal", TensorProto.FLOAT, [1, 1]),
            helper.make_tensor_value_info("topics", TensorProto.FLOAT, [1, len(TOPICS)]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="routing-service",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
