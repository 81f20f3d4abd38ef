"""The matrix factorization model of RouteLLM (arXiv 2406.18665, section 4.2), and its gradients, in numpy.

A model m has a vector P[m], a prompt an embedding e. Its logit is `classifier · (P[m] / |P[m]| * (projection e))`, and
the chance that model a beats b is the logistic function of the difference of their logits. Training adds Gaussian noise
to the embeddings, which keeps the projection from learning them by heart.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

MIN_NORM = np.float32(1e-12)
# Adam (arXiv 1412.6980): decay of the gradients' mean and uncentred variance, and what keeps the divisor off 0.
BETA_MEAN, BETA_VARIANCE, EPSILON = 0.9, 0.999, 1e-8


@dataclass(slots=True)
class Parameters:
    """`models` float32 (models, hidden), not normalised; `projection` (hidden, dimension); `classifier` (hidden,)."""

    models: Float32
    projection: Float32
    classifier: Float32

    @classmethod
    def random(cls, models: int, hidden: int, dimension: int, rng: np.random.Generator) -> Self:
        """Chance values spread as RouteLLM's: normal model vectors, uniform weights within 1 / sqrt(inputs)."""

        def uniform(*shape: int) -> Float32:
            limit = shape[-1] ** -0.5
            return rng.uniform(-limit, limit, shape).astype(np.float32)

        vectors = rng.standard_normal((models, hidden)).astype(np.float32)
        return cls(vectors, uniform(hidden, dimension), uniform(hidden))

    def as_dict(self) -> dict[str, Float32]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def copy(self) -> Self:
        """Not sharing arrays."""
        return type(self)(**{name: value.copy() for name, value in self.as_dict().items()})

    def directions(self) -> Float32:
        """A vector a model, float32 (models, dimension), whose dot product with an embedding is the model's logit."""
        weighted = normalised(self.models)[0].astype(np.float64) * self.classifier
        return (weighted @ self.projection).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Battles:
    """Battles as arrays of shape (battles,).

    `prompts` are rows of a table of embeddings, `a` and `b` rows of the models; `outcomes` are float32 in 0..1, 1 where
    a won; `weights` are relative.
    """

    prompts: Int64
    a: Int64
    b: Int64
    outcomes: Float32
    weights: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: npt.NDArray[np.bool_] | Int64) -> Battles:
        """Some of them."""
        return Battles(*(getattr(self, field.name)[rows] for field in fields(self)))


class Adam:
    """Adam with weight decay added to the gradient, as torch.optim.Adam does it.

    `means` and `variances` run along with the parameters; `steps` counts updates.
    """

    def __init__(self, parameters: Parameters, learning_rate: float, weight_decay: float) -> None:
        self.learning_rate, self.weight_decay, self.steps = learning_rate, weight_decay, 0
        zeros = {name: np.zeros_like(value) for name, value in parameters.as_dict().items()}
        self.means, self.variances = Parameters(**zeros), Parameters(**zeros).copy()

    def update(self, parameters: Parameters, gradients: Parameters) -> None:
        """One step, in place."""
        self.steps += 1
        rate = self.learning_rate / (1 - BETA_MEAN**self.steps)
        scale = 1 / (1 - BETA_VARIANCE**self.steps)
        for name, value in parameters.as_dict().items():
            gradient = getattr(gradients, name) + np.float32(self.weight_decay) * value
            mean, variance = getattr(self.means, name), getattr(self.variances, name)
            mean += np.float32(1 - BETA_MEAN) * (gradient - mean)
            variance += np.float32(1 - BETA_VARIANCE) * (gradient * gradient - variance)
            step = np.float32(rate) * mean / (np.sqrt(np.float32(scale) * variance) + np.float32(EPSILON))
            np.subtract(value, step, out=value)


def normalised(vectors: Float32) -> tuple[Float32, Float32]:
    """Rows divided by their norms, and the norms, of shape (rows, 1)."""
    norms = np.maximum(np.sqrt(np.square(vectors).sum(1, keepdims=True)), MIN_NORM)
    return vectors / norms, norms


def gradients(parameters: Parameters, embeddings: Float32, a: Int64, b: Int64, outcomes: Float32) -> Parameters:
    """Of the mean binary cross-entropy of a batch, (battles, dimension) and (battles,), by each parameter."""
    unit, norms = normalised(parameters.models)
    signs = np.zeros((len(a), len(unit)), np.float32)
    rows = np.arange(len(a))
    signs[rows, a] = 1
    signs[rows, b] = -1  # a and b are different models
    difference = signs @ unit
    projected = embeddings @ parameters.projection.T
    product = difference * projected
    error = ((sigmoid(product @ parameters.classifier) - outcomes) / np.float32(len(a)))[:, np.newaxis]
    weighted = error * parameters.classifier
    by_unit = signs.T @ (weighted * projected)
    # Only what is at right angles to a vector changes its direction.
    by_models = (by_unit - unit * (unit * by_unit).sum(1, keepdims=True)) / norms
    return Parameters(by_models, (weighted * difference).T @ embeddings, (error * product).sum(0))


def logit_differences(directions: Float32, embeddings: Float32, battles: Battles) -> npt.NDArray[np.float64]:
    """The log-odds that a beats b, (battles,), without noise."""
    # A block at a time: all pairs of vectors at once would not fit.
    parts = []
    for start in range(0, len(battles), 8192):
        rows = slice(start, start + 8192)
        pair = directions[battles.a[rows]] - directions[battles.b[rows]]
        parts.append(np.vecdot(embeddings[battles.prompts[rows]], pair).astype(np.float64))
    return np.concatenate(parts) if parts else np.empty(0)


def sigmoid(logits: Float32) -> Float32:
    """The logistic function, without overflow."""
    rates: Float32 = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * logits))
    return rates


def cross_entropy(logits: npt.NDArray[np.float64], battles: Battles) -> float:
    """The weighted mean loss in nats of log-odds against outcomes in 0..1; log 2 for chance."""
    losses = np.logaddexp(0, logits) - battles.outcomes * logits
    return float(np.average(losses, weights=battles.weights))
