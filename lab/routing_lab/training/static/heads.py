"""The networks of a `static` router, fitted on features and fused into one: exam, gate, triviality and topics.

An exam question in the format of a benchmark whose outcomes are known is scored by the exam network, any other ask by
its topic; the gate tells them apart. A trivial ask in a hard topic is worth what trivial asks are, and where little of
an ask was understood its score goes to the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from routing_lab.training.static.features import FEATURE_NAMES
from routing_lab.training.static.networks import Network
from routing_lab.training.static.topics import TOPIC_LOG_ODDS, TOPICS, TRIVIAL_LOG_ODDS

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Standardized features are cut here: a prompt unlike any other must not be scored by one feature.
LIMIT = 3.5
# The gate and the triviality go from 0 to 1 between these probabilities: a share of the exam network's score would
# blur the exams' ranking.
GATE_RAMP = (0.1, 0.35)
TRIVIAL_RAMP = (0.5, 0.9)
# The log-odds where nothing is understood, and the sum of weights (a rare word has 1) from which an ask is understood.
PRIOR_LOG_ODDS, UNDERSTOOD = 0.10, 0.6
# Nothing is understood from this share of fragments on, and all up to the first; of repetitions, by different pieces a
# byte.
FRAGMENTS, DIFFERENT = (0.3, 0.7), 0.02


@dataclass(frozen=True, slots=True)
class Head:
    """A network and which features it reads."""

    network: Network
    reads: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Heads:
    """All networks over the same features as one, and what becomes of their outputs.

    Features are limited to `low`..`high`; the standardization is folded into the weights. The outputs are the exam's
    log-odds, the gate's, the triviality's, and one for each topic.
    """

    low: Float32
    high: Float32
    w1: Float32
    b1: Float32
    w2: Float32
    b2: Float32

    def outputs(self, features: Float32) -> Float32:
        """The networks' outputs, (prompts, 3 + topics)."""
        limited = np.clip(features, self.low, self.high)
        outputs: Float32 = np.maximum(limited @ self.w1 + self.b1, 0) @ self.w2 + self.b2
        return outputs

    def parts(self, features: Float32) -> dict[str, Float32]:
        """What a score is made of: `exam` and `topic` log-odds, `gate`, `trivial`, and the shares of `topics`."""
        out = self.outputs(features)
        shares = np.exp(out[:, 3:] - out[:, 3:].max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        trivial = ramp(out[:, 2], TRIVIAL_RAMP)
        topic = shares @ topic_log_odds()
        topic += trivial * (np.float32(TRIVIAL_LOG_ODDS) - topic)
        return {
            "exam": out[:, 0],
            "gate": ramp(out[:, 1], GATE_RAMP),
            "trivial": trivial,
            "topic": topic,
            "topics": shares,
        }

    def blend(self, parts: Mapping[str, Float32], understood: Float32) -> Float64:
        """The strong win rate of each prompt, (prompts,), from `parts`; `understood` from 0 to 1."""
        blended = parts["topic"] + parts["gate"] * (parts["exam"] - parts["topic"])
        log_odds = PRIOR_LOG_ODDS + understood * (blended - PRIOR_LOG_ODDS)
        return np.asarray(1 / (1 + np.exp(-log_odds)), np.float64)


def understood(features: Float32, weights: Float32, components: int) -> Float32:
    """How much of each prompt was understood, (prompts,) from 0 to 1.

    Args:
        features: of the prompts.
        weights: the sums of their pieces' weights, (prompts,), a rare piece having 1.
        components: how many features are components.
    """
    start, end = FRAGMENTS
    fragments, different = (features[:, column] for column in signal_columns(components))
    words = np.clip((end - fragments) / (end - start), 0, 1)
    shares: Float32 = np.clip(weights / UNDERSTOOD, 0, 1) * words * np.clip(different / DIFFERENT, 0, 1)
    return shares.astype(np.float32)


def signal_columns(components: int) -> tuple[int, int]:
    """Which features say how many pieces are fragments, and how many are different."""
    fragments, different = map(FEATURE_NAMES.index, ("mean fragment", "share different pieces"))
    return components + fragments, components + different


def topic_log_odds() -> Float32:
    """The log-odds of each topic, in the order of `TOPICS`."""
    return np.array([TOPIC_LOG_ODDS[topic] for topic in TOPICS], np.float32)


def ramp(log_odds: Float32, between: tuple[float, float]) -> Float32:
    """0 up to a probability, 1 from another, and a line between them."""
    low, high = between
    shares: Float32 = np.clip((1 / (1 + np.exp(-log_odds)) - low) / (high - low), 0, 1).astype(np.float32)
    return shares


def fuse(mean: Float32, deviation: Float32, exam: Head, gate: Head, trivial: Head, topic: Head) -> Heads:
    """The four heads as one network.

    A skip connection becomes hidden units of its own, as relu(x) - relu(-x).
    """
    inputs = len(mean)
    columns: list[Float32] = []
    biases: list[Float32] = []
    blocks: list[tuple[Float32, int]] = []
    b2: list[Float32] = []
    at = 0
    for head in (exam, gate, trivial, topic):
        network = head.network
        size = network.w2.shape[1]
        skip = network.skip
        first = [network.w1, skip, -skip] if np.any(skip) else [network.w1]
        wide = np.zeros((inputs, sum(part.shape[1] for part in first)), np.float32)
        wide[head.reads] = np.concatenate(first, axis=1)
        columns.append(wide)
        biases.append(np.concatenate([network.b1, np.zeros(wide.shape[1] - len(network.b1), np.float32)]))
        eye = np.eye(size, dtype=np.float32)
        blocks.append((np.concatenate([network.w2, eye, -eye] if np.any(skip) else [network.w2]), at))
        b2.append(network.b2)
        at += size
    standardized = np.concatenate(columns, axis=1)
    w2 = np.zeros((standardized.shape[1], at), np.float32)
    row = 0
    for block, column in blocks:
        w2[row : row + len(block), column : column + block.shape[1]] = block
        row += len(block)
    w1 = (standardized / deviation[:, None]).astype(np.float32)
    b1 = (np.concatenate(biases) - (mean / deviation) @ standardized).astype(np.float32)
    limit = np.float32(LIMIT) * deviation
    return Heads((mean - limit).astype(np.float32), (mean + limit).astype(np.float32), w1, b1, w2, np.concatenate(b2))
