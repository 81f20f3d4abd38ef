"""LightGBM trees as the attributes of an ONNX `TreeEnsembleRegressor` (ai.onnx.ml, version 3).

Two properties hold that general converters do not give. Decisions are LightGBM's own, exactly: a float32 feature takes
the same branch (but for magnitudes up to 1e-35, which LightGBM reads as zero). And leaf values are multiples of a power
of two, so their float32 sum is exact in any order: neither the batch's size nor the machine changes a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

# Sums of multiples of 2**-18 are exact in float32 below 2**24 / 2**18 = 64; log-odds stay far below.
LEAF_STEP = 2.0**-18
MAX_EXACT_SUM = 2.0**24 * LEAF_STEP
NODE_COLUMNS = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
TARGET_COLUMNS = ("treeids", "nodeids", "ids", "weights")


def tree_attributes(
    model: dict[str, Any], slope: float, intercept: float, columns_read: Sequence[int]
) -> dict[str, Any]:
    """The node attributes of an ensemble that returns `intercept + slope * raw score`.

    Args:
        model: LightGBM's `Booster.dump_model()`.
        slope: multiplies every leaf.
        intercept: added once.
        columns_read: which column of the node's input each feature of the model is.

    Raises:
        ValueError: a split is not a plain `<=` of a number, or the sum of leaves could be too large to be exact.
    """
    columns: dict[str, list[Any]] = {f"nodes_{name}": [] for name in NODE_COLUMNS}
    columns |= {f"target_{name}": [] for name in TARGET_COLUMNS}
    base = _on_grid(intercept)
    largest = abs(base)
    for number, tree in enumerate(model["tree_info"]):
        largest += _append_tree(columns, number, tree["tree_structure"], slope, columns_read)
    if largest >= MAX_EXACT_SUM:
        raise ValueError(f"leaf values may add up to {largest:.0f}; sums are exact below {MAX_EXACT_SUM:.0f} only")
    return {**columns, "base_values": [base], "n_targets": 1}


def float32_at_most(threshold: float) -> float:
    """The largest float32 that is not above `threshold`: float32 x <= it exactly when x <= threshold."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded)


def _on_grid(value: float) -> float:
    return round(value / LEAF_STEP) * LEAF_STEP


def _append_tree(
    columns: dict[str, list[Any]], tree: int, root: dict[str, Any], scale: float, columns_read: Sequence[int]
) -> float:
    """Append one tree, and return its largest absolute leaf."""
    largest = 0.0
    for number, node, left, right in _numbered(root):
        leaf = "split_feature" not in node
        if not leaf and (node["decision_type"] != "<=" or node["missing_type"] != "None"):
            raise ValueError(f"tree {tree}: only splits of numbers without missing values can be converted")
        feature, threshold = (
            (0, 0.0) if leaf else (columns_read[node["split_feature"]], float32_at_most(node["threshold"]))
        )
        row = (tree, number, feature, threshold, "LEAF" if leaf else "BRANCH_LEQ", left, right)
        for name, value in zip(NODE_COLUMNS, row, strict=True):
            columns[f"nodes_{name}"].append(value)
        if leaf:
            weight = _on_grid(node["leaf_value"] * scale)
            largest = max(largest, abs(weight))
            for name, value in zip(TARGET_COLUMNS, (tree, number, 0, weight), strict=True):
                columns[f"target_{name}"].append(value)
    return largest


def _numbered(root: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], int, int]]:
    """Each node with its number and its children's, breadth first; a leaf's children are 0."""
    queue, following = [root], 1
    for number, node in enumerate(queue):
        if "split_feature" in node:
            queue += [node["left_child"], node["right_child"]]
            yield number, node, following, following + 1
            following += 2
        else:
            yield number, node, 0, 0
