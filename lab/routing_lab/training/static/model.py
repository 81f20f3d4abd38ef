"""Fits and cross-validates a `static` router: components of word embeddings, prompt features, boosted trees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.duplicates import near_duplicate_groups
from routing_lab.data.examples import Example
from routing_lab.data.sources import source_of
from routing_lab.training.static.features import Float32, Int64

COMPONENTS = 32
# Components of a word piece are integers from 0 up to twice this.
COMPONENT_ZERO = 127
FOLDS = 5
ROUNDS = 200
# Chosen by cross-validation on the dev halves of MMLU and GSM8K, the differences between near settings being noise. Six
# times as many leaves bring 0.01 of APGR on MMLU and nothing on GSM8K. In a server, whose caches hold other things by
# the time the next prompt comes, fetching them from memory would take as long as all else does.
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


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Examples as arrays: `features` float32 (examples, features); `targets`, `weights` and `folds` (examples,)."""

    features: Float32
    targets: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    folds: Int64


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Platt scaling: the calibrated log-odds are `intercept + slope * raw log-odds`."""

    slope: float
    intercept: float

    def __call__(self, log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probabilities of shape of `log_odds`."""
        return np.asarray(1 / (1 + np.exp(-(self.intercept + self.slope * log_odds))))


def component_table(vectors: Float32, ids: Sequence[Sequence[int]], classes: npt.NDArray[np.int8]) -> Float32:
    """The token table: embeddings projected on the prompts' main directions, the pieces' classes, and what is missing.

    All are non-negative integers, as float32: sums of them are exact, and ONNX Runtime adds floats without a
    conversion. What is missing is what makes each row's total the same, so that a sum's total counts the tokens.

    Args:
        vectors: embeddings, (pieces, dimensions).
        ids: token ids of each training prompt; the components are those of the prompts' mean vectors.
        classes: (pieces, classes) of 0 and 1.
    """
    means = np.stack([vectors[list(row)].mean(0, dtype=np.float64) for row in ids if len(row)])
    _, directions = np.linalg.eigh(np.cov(means.T))
    directions = directions[:, ::-1][:, :COMPONENTS]
    # The sign of an eigenvector is arbitrary; fix it so that runs agree.
    directions *= np.sign(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])])
    projected = vectors.astype(np.float64) @ directions
    scaled = projected * (COMPONENT_ZERO / np.abs(projected).max(0).clip(1e-12))
    columns = np.concatenate([np.rint(scaled) + COMPONENT_ZERO, classes], axis=1)
    totals = columns.sum(1, keepdims=True)
    return np.concatenate([columns, totals.max() - totals], axis=1).astype(np.float32)


def token_sums(table: Float32, ids: Sequence[Sequence[int]]) -> Int64:
    """Sums of each prompt's rows of `table`, (prompts, columns); zeros for a prompt without tokens."""
    return np.stack([table[np.asarray(row, np.int64)].sum(0, dtype=np.int64) for row in ids])


def assign_folds(prompts: Sequence[str], seed: int) -> Int64:
    """A fold of each prompt, near-duplicates together."""
    digests = (hashlib.sha256(f"{seed}|{key}".encode()).digest() for key in near_duplicate_groups(prompts))
    return np.array([int.from_bytes(digest[:8], "big") % FOLDS for digest in digests], np.int64)


def fit(data: TrainingSet, seed: int) -> Any:
    """Train a LightGBM booster."""
    import lightgbm

    # Leaves of a small data set must be small, or there is no split at all.
    min_leaf_rows = max(5, min(TREE_PARAMETERS["min_data_in_leaf"], len(data.targets) // 25))
    parameters = TREE_PARAMETERS | {"min_data_in_leaf": min_leaf_rows, "seed": seed}
    dataset = lightgbm.Dataset(data.features, data.targets, weight=data.weights)
    return lightgbm.train(parameters, dataset, ROUNDS)


def log_odds(booster: Any, features: Float32) -> npt.NDArray[np.float64]:
    """The booster's raw score, before calibration, (prompts,)."""
    scores = booster.predict(features, raw_score=True, num_threads=TREE_PARAMETERS["num_threads"])
    return np.asarray(scores, np.float64)


def cross_validate(data: TrainingSet, seed: int, step: Callable[[], object]) -> npt.NDArray[np.float64]:
    """Raw log-odds of each example from a booster that has not seen its fold. `step` is called after each fold."""
    scores = np.zeros(len(data.targets))
    for fold in range(FOLDS):
        held_out = data.folds == fold
        if held_out.any():
            rest = TrainingSet(*(values[~held_out] for values in _columns(data)))
            scores[held_out] = log_odds(fit(rest, seed), data.features[held_out])
        step()
    return scores


def calibrate(scores: npt.NDArray[np.float64], examples: Sequence[Example]) -> Calibrator:
    """Fit Platt scaling on the out-of-fold log-odds of the examples that score the model pair itself."""
    from sklearn.linear_model import LogisticRegression

    chosen = np.array([source_of(example.source).calibrates for example in examples])
    targets = np.array([example.target for example in examples])
    if len(np.unique(targets[chosen])) < 2:
        chosen[:] = True
    x, wins = scores[chosen, None], targets[chosen]
    # A soft target is a win and a loss with complementary weights.
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(
        np.concatenate([x, x]), np.repeat([1, 0], len(x)), sample_weight=np.concatenate([wins, 1 - wins])
    )
    slope = float(model.coef_[0, 0])
    if slope <= 0:
        # Held-out scores that say nothing, or the reverse: trust the average alone rather than turn the order around.
        return Calibrator(1e-3, float(np.log(wins.mean() / (1 - wins.mean()))))
    return Calibrator(slope, float(model.intercept_[0]))


def _columns(data: TrainingSet) -> tuple[Any, ...]:
    return data.features, data.targets, data.weights, data.folds
