"""A small network with one hidden layer, in numpy: what it computes, and how it is fitted.

Own code rather than a library's: scikit-learn's networks have no soft classes, and PyTorch is too much to install for
some thousands of weights. On one machine the same data and seed give the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

EPOCHS, BATCH, RATE = 30, 256, 2e-3
ADAM_MEAN, ADAM_SQUARE, ADAM_EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class Network:
    """`relu(x @ w1 + b1) @ w2 + x @ skip + b2`: logits of shape (rows, outputs) of standardised inputs."""

    w1: Float32
    b1: Float32
    w2: Float32
    b2: Float32
    skip: Float32

    def __call__(self, x: Float32) -> Float32:
        """The logits."""
        logits: Float32 = np.maximum(x @ self.w1 + self.b1, 0) @ self.w2 + x @ self.skip + self.b2
        return logits


@dataclass(frozen=True, slots=True)
class Fit:
    """How a network is fitted: size, epochs, weight decay, and deviation of the noise on the first `noisy` inputs."""

    hidden: int = 32
    epochs: int = EPOCHS
    decay: float = 1e-3
    noise: float = 0.0
    noisy: int = 0
    linear: bool = True


def fit_network(x: Float32, targets: Float32, weights: Float32, fit: Fit, seed: int) -> Network:
    """Fit a network by Adam with a falling rate.

    One target column is a probability (logistic loss); several are a distribution over classes (softmax loss).

    Args:
        x: standardised inputs, (rows, inputs).
        targets: (rows, outputs), from 0 to 1.
        weights: of the rows, (rows,).
        fit: how.
        seed: of the first weights, the order and the noise.
    """
    rng = np.random.default_rng(seed)
    rows, inputs = x.shape
    outputs = targets.shape[1]
    parameters = [
        (rng.standard_normal((inputs, fit.hidden)) * np.sqrt(2 / inputs)).astype(np.float32),
        np.zeros(fit.hidden, np.float32),
        (rng.standard_normal((fit.hidden, outputs)) * np.sqrt(1 / fit.hidden)).astype(np.float32),
        np.zeros(outputs, np.float32),
        np.zeros((inputs, outputs), np.float32),
    ]
    means = [np.zeros_like(p) for p in parameters]
    squares = [np.zeros_like(p) for p in parameters]
    weights = (weights / weights.mean()).astype(np.float32)
    steps = fit.epochs * -(-rows // BATCH)
    step = 0
    for _ in range(fit.epochs):
        order = rng.permutation(rows)
        for start in range(0, rows, BATCH):
            chosen = order[start : start + BATCH]
            batch = x[chosen]
            if fit.noise:
                batch = batch.copy()
                batch[:, : fit.noisy] += rng.standard_normal((len(batch), fit.noisy)).astype(np.float32) * fit.noise
            step += 1
            gradients = _gradients(parameters, batch, targets[chosen], weights[chosen])
            rate = RATE * (1 - step / (steps + 1))
            for number, gradient in enumerate(gradients):
                if number == 4 and not fit.linear:
                    continue
                means[number] += (1 - ADAM_MEAN) * (gradient - means[number])
                squares[number] += (1 - ADAM_SQUARE) * (gradient * gradient - squares[number])
                scale = np.sqrt(squares[number] / (1 - ADAM_SQUARE**step)) + ADAM_EPSILON
                parameters[number] -= rate * means[number] / (1 - ADAM_MEAN**step) / scale
                if parameters[number].ndim > 1:
                    parameters[number] -= rate * fit.decay * parameters[number]
    return Network(*parameters)


def _gradients(parameters: list[Float32], x: Float32, targets: Float32, weights: Float32) -> list[Float32]:
    w1, b1, w2, b2, skip = parameters
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + x @ skip + b2
    error = (probabilities(logits) - targets) * (weights / len(x))[:, None]
    back = (error @ w2.T) * (hidden > 0)
    return [x.T @ back, back.sum(0), hidden.T @ error, error.sum(0), x.T @ error]


def probabilities(logits: Float32) -> Float32:
    """Of one column the logistic function, of several the softmax."""
    if logits.shape[1] == 1:
        single: Float32 = (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)
        return single
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Float32 = powers / powers.sum(1, keepdims=True)
    return shares
