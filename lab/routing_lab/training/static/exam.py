"""Fits the exam head of a `static` router: trees learn from outcomes, and a network learns from the trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.training.static.heads import LIMIT
from routing_lab.training.static.model import FOLDS
from routing_lab.training.static.networks import Fit, Network, fit_network

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

ROUNDS = 200
TEACHERS = 2
# Chosen by cross-validation on the dev halves of MMLU and GSM8K, the differences between near settings being noise.
TREE_PARAMETERS: dict[str, Any] = {
    "objective": "cross_entropy",
    "learning_rate": 0.04,
    "num_leaves": 16,
    "min_data_in_leaf": 60,
    "lambda_l2": 5.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    # The same trees on every run.
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
# A teacher's log-odds are small; a student that learns them this many times larger learns their order better.
SHARPEN = 3.0
EXAM_FIT = Fit(hidden=64, epochs=25, decay=0.3)


@dataclass(frozen=True, slots=True)
class Standard:
    """How features are standardized."""

    mean: Float32
    deviation: Float32

    @classmethod
    def of(cls, features: Float32) -> Standard:
        """Mean and deviation of the rows; of a feature that hardly varies, one that divides without losing digits."""
        deviation = features.std(0, dtype=np.float64)
        deviation = np.where(deviation < 1e-6, 1, np.maximum(deviation, 1e-3)).astype(np.float32)
        return cls(features.mean(0, dtype=np.float64).astype(np.float32), deviation)

    def __call__(self, features: Float32) -> Float32:
        """Standardized and limited."""
        standard: Float32 = np.clip((features - self.mean) / self.deviation, -LIMIT, LIMIT).astype(np.float32)
        return standard


@dataclass(frozen=True, slots=True)
class ExamData:
    """Rows with outcomes: `features` (rows, features), targets, weights and folds (rows,), and the sources' numbers.

    `copies` are the features of a paraphrase of each row; `copied` says which of them are learnt from.
    """

    features: Float32
    copies: Float32
    copied: npt.NDArray[np.bool_]
    targets: Float64
    weights: Float64
    folds: Int64
    sources: Int64

    def rows(self, mask: npt.NDArray[np.bool_]) -> ExamData:
        """Some of the rows."""
        return ExamData(*(getattr(self, name)[mask] for name in self.__slots__))


def exam_teacher(data: ExamData, seed: int) -> Callable[[Float32], Float64]:
    """Boosted trees on the outcomes: what a source's prompts have in common is no reason of any one of them."""
    import lightgbm

    offsets = np.zeros(int(data.sources.max()) + 1)
    for source in np.unique(data.sources):
        mean = np.clip(data.targets[data.sources == source].mean(), 0.05, 0.95)
        offsets[source] = np.log(mean / (1 - mean))
    # Leaves of a small data set must be small, or there is no split at all.
    min_leaf_rows = max(5, min(TREE_PARAMETERS["min_data_in_leaf"], len(data.targets) // 25))
    boosters = []
    for number in range(TEACHERS):
        parameters = TREE_PARAMETERS | {"min_data_in_leaf": min_leaf_rows, "seed": seed * TEACHERS + number}
        dataset = lightgbm.Dataset(data.features, data.targets, weight=data.weights, init_score=offsets[data.sources])
        boosters.append(lightgbm.train(parameters, dataset, ROUNDS))

    def log_odds(features: Float32) -> Float64:
        scores = [booster.predict(features, raw_score=True, num_threads=1) for booster in boosters]
        return np.asarray(np.mean(scores, axis=0), np.float64)

    return log_odds


def fit_exam(data: ExamData, more: Float32, standard: Standard, seed: int) -> Network:
    """A network that does what `exam_teacher` does, on the rows and on `more` prompts without outcomes.

    For a paraphrase it learns what the trees say of the prompt itself.
    """
    teacher = exam_teacher(data, seed)
    features = np.concatenate([data.features, more])
    targets = (1 / (1 + np.exp(-SHARPEN * teacher(features))))[:, None].astype(np.float32)
    weights = np.concatenate([np.sqrt(data.weights), np.full(len(more), 0.5)]).astype(np.float32)
    copied = np.flatnonzero(data.copied)
    inputs = standard(np.concatenate([features, data.copies[copied]]))
    targets, weights = (np.concatenate([values, values[copied]]) for values in (targets, weights))
    return fit_network(inputs, targets, weights, EXAM_FIT, seed)


def cross_validate(data: ExamData, more: Float32, standard: Standard, seed: int, step: Callable[[], object]) -> Float64:
    """The log-odds of each row from a network that has not seen its fold. `step` is called after each fold."""
    scores = np.zeros(len(data.targets))
    for fold in range(FOLDS):
        held_out = data.folds == fold
        if held_out.any():
            network = fit_exam(data.rows(~held_out), more, standard, seed)
            scores[held_out] = network(standard(data.features[held_out]))[:, 0]
        step()
    return scores
