"""Folds and calibration of a `static` training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from routing_lab.data.duplicates import near_duplicate_groups
from routing_lab.data.examples import Example
from routing_lab.data.sources import source_of

Int64 = npt.NDArray[np.int64]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Platt scaling: the calibrated log-odds are `intercept + slope * raw log-odds`."""

    slope: float
    intercept: float

    def __call__(self, log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probabilities of shape of `log_odds`."""
        return np.asarray(1 / (1 + np.exp(-(self.intercept + self.slope * log_odds))))


def assign_folds(prompts: Sequence[str], seed: int) -> Int64:
    """A fold of each prompt, near-duplicates together."""
    digests = (hashlib.sha256(f"{seed}|{key}".encode()).digest() for key in near_duplicate_groups(prompts))
    return np.array([int.from_bytes(digest[:8], "big") % FOLDS for digest in digests], np.int64)


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
