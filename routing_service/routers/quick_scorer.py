"""Boosted trees without walking them: QuickScorer (Lucchese et al., SIGIR 2015), as a few numpy calls.

Leaves are numbered from left to right. An inner node whose condition is false rules out the leaves under its true
branch; all such nodes' leaf sets are bit masks, and the lowest bit that survives their conjunction is the leaf reached.
Every node's condition is evaluated, but in one pass over consecutive memory, where a walk would chase pointers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

MAX_LEAVES = 64


@dataclass(frozen=True, slots=True)
class QuickScorer:
    """An ensemble of trees.

    Every leaf counts towards the first of `targets` sums; `base` has what is added to each.

    `features`, `thresholds` and `masks` have one entry an inner node, tree by tree: the condition is
    `row[feature] <= threshold`, the mask has the bits of the leaves that remain when it is false. `starts` is where
    each tree's nodes begin. `leaf_values` holds, tree by tree from `leaf_starts` on, the leaves from left to right.
    """

    features: npt.NDArray[np.intp]
    thresholds: npt.NDArray[np.float32]
    masks: npt.NDArray[Any]
    starts: npt.NDArray[np.intp]
    leaf_values: npt.NDArray[np.float64]
    leaf_starts: npt.NDArray[np.intp]
    base: tuple[float, ...]

    @property
    def targets(self) -> int:
        """How many sums there are."""
        return len(self.base)

    def score(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The sums of the leaves that rows, of shape (rows, features), reach, of shape (rows, targets).

        Leaves are float32 of like size, so their sum in float64 is exact, whatever the order.
        """
        false = rows.take(self.features, 1) > self.thresholds
        survivors = np.bitwise_and.reduceat(np.where(false, self.masks, ~self.masks.dtype.type(0)), self.starts, 1)
        lowest = survivors & (~survivors + survivors.dtype.type(1))
        # The exponent of a power of two, exactly, is its place.
        leaves = np.frexp(lowest.astype(np.float64))[1] - 1
        sums: npt.NDArray[np.float64] = self.leaf_values[leaves + self.leaf_starts].sum(1, keepdims=True)
        if self.targets == 1:
            return sums + self.base[0]
        return np.concatenate([sums + self.base[0], np.full((len(sums), self.targets - 1), self.base[1:])], 1)

    @classmethod
    def from_onnx(cls, attributes: Mapping[str, Any]) -> Self | None:
        """From the attributes of a TreeEnsembleRegressor.

        None when the trees are of a form that is not handled: conditions other than `<=`, trees of one leaf or of more
        than 64, leaves for another target than the first.
        """
        if any(attributes["target_ids"]):
            return None
        trees = _trees(attributes)
        leaves = [_leaves(tree, tree.root) for tree in trees]
        most = max(len(numbered) for numbered in leaves)
        if set(attributes["nodes_modes"]) != {b"BRANCH_LEQ", b"LEAF"} or most > MAX_LEAVES or min(map(len, leaves)) < 2:
            return None
        dtype = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if np.iinfo(kind).bits >= most)
        features: list[int] = []
        thresholds: list[float] = []
        masks: list[int] = []
        starts: list[int] = []
        leaf_starts: list[int] = []
        values: list[float] = []
        for tree, numbered in zip(trees, leaves, strict=True):
            starts.append(len(features))
            leaf_starts.append(len(values))
            values += [tree.weights[leaf] for leaf in numbered]
            place = {leaf: index for index, leaf in enumerate(numbered)}
            for node in tree.inner:
                features.append(tree.features[node])
                thresholds.append(tree.thresholds[node])
                ruled_out = sum(1 << place[leaf] for leaf in _leaves(tree, tree.true[node]))
                masks.append(int(np.iinfo(dtype).max) & ~ruled_out)
        return cls(
            np.array(features, np.intp),
            np.array(thresholds, np.float32),
            np.array(masks, dtype),
            np.array(starts, np.intp),
            np.array(values, np.float32).astype(np.float64),
            np.array(leaf_starts, np.intp),
            tuple(attributes.get("base_values", (0.0,) * attributes["n_targets"])),
        )


@dataclass(slots=True)
class _Tree:
    root: int
    inner: list[int]
    features: dict[int, int]
    thresholds: dict[int, float]
    true: dict[int, int]
    false: dict[int, int]
    weights: dict[int, float]


def _trees(attributes: Mapping[str, Any]) -> list[_Tree]:
    columns: Sequence[Any] = [
        attributes[f"nodes_{name}"]
        for name in ("treeids", "nodeids", "modes", "featureids", "values", "truenodeids", "falsenodeids")
    ]
    trees: dict[int, _Tree] = {}
    for tree_id, node, mode, feature, threshold, true, false in zip(*columns, strict=True):
        tree = trees.setdefault(tree_id, _Tree(node, [], {}, {}, {}, {}, {}))
        if mode != b"LEAF":
            tree.inner.append(node)
            tree.features[node], tree.thresholds[node] = feature, threshold
            tree.true[node], tree.false[node] = true, false
    targets = zip(attributes["target_treeids"], attributes["target_nodeids"], attributes["target_weights"], strict=True)
    for tree_id, node, weight in targets:
        trees[tree_id].weights[node] = weight
    return list(trees.values())


def _leaves(tree: _Tree, node: int) -> list[int]:
    """The leaves under a node, from left (true) to right."""
    found, stack = [], [node]
    while stack:
        at = stack.pop()
        if at in tree.true:
            stack += [tree.false[at], tree.true[at]]
        else:
            found.append(at)
    return found
