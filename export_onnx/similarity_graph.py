"""The graph of an `sw_ranking` artifact: queries times the battles' rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from export_onnx.graph import FLOAT, FLOAT16, GraphWriter
from export_onnx.quantize import Precision
from routing_service.routers.sw_ranking.tier_ranking import QUERIES, SIMILARITIES

ROWS = "rows"
# float16 rows are converted so many at a time: as float32 they fit a core's second-level cache.
BLOCK = 128


def write_graph(path: Path, rows: npt.NDArray[np.float32], precision: Precision) -> list[str]:
    """Write the graph and, beside it, its rows.

    It reads `queries`, float32 (queries, dimension), and gives `similarities`, float32 (queries, battles).

    Args:
        path: the graph's file.
        rows: unit vectors of shape (battles, dimension).
        precision: how the rows are stored: float32, float16, or int8 with a scale a row. Sums are in float32, or exact
            for int8, whose queries are rounded to 8 bits as well.

    Returns:
        The names of the files written.
    """
    battles, dimension = rows.shape
    graph = GraphWriter(path, precision, max_inline_bytes=0)
    inputs: dict[str, tuple[int, tuple[int | str, ...]]] = {QUERIES: (FLOAT, ("queries", dimension))}
    if precision == "fp32":
        graph.constant(ROWS, rows, np.float32)
        # A graph input with a default is no constant, so ONNX Runtime maps the rows and does not repack a copy.
        inputs[ROWS] = (FLOAT, (battles, dimension))
        graph.op("Gemm", QUERIES, ROWS, transB=1, name=SIMILARITIES)
    elif precision == "fp16":
        _half_precision(graph, rows)
    else:
        graph.op("Identity", graph.linear(QUERIES, ROWS, rows), name=SIMILARITIES)
    return graph.finish(inputs, {SIMILARITIES: (FLOAT, ("queries", battles))})


def _half_precision(graph: GraphWriter, rows: npt.NDArray[np.float32]) -> None:
    from onnx import helper

    battles, dimension = rows.shape
    blocks = -(-battles // BLOCK)
    padded = np.zeros((blocks * BLOCK, dimension), np.float16)
    padded[:battles] = rows
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["block"], ["block_float"], to=FLOAT),
            helper.make_node("Gemm", [QUERIES, "block_float"], ["products"], transB=1),
        ],
        "block",
        [helper.make_tensor_value_info("block", FLOAT16, (BLOCK, dimension))],
        [helper.make_tensor_value_info("products", FLOAT, ("queries", BLOCK))],
    )
    stored = graph.constant(ROWS, padded.reshape(blocks, BLOCK, dimension), np.float16)
    products = graph.op("Scan", stored, body=body, num_scan_inputs=1, scan_output_axes=[1])
    flat = graph.op("Reshape", products, graph.constant("flat", [0, -1]))
    zero, one, end = graph.constant("zero", [0]), graph.constant("one", [1]), graph.constant("battles", [battles])
    graph.op("Slice", flat, zero, end, one, name=SIMILARITIES)
