"""Win rates of model tiers for a query vector, from an artifact of battles: the numbers behind `sw_ranking`.

A query's battles are weighted by `10 ** (similarity / largest similarity)`, cosine similarity to the battle's prompt.
The similarities are one matrix product by the artifact's graph. Rows are grouped by outcome, e.g. "tier 3 beat tier 5":
one sum for each group makes a tier-by-tier matrix of wins from the weights, and `bradley_terry` turns that into
ratings.

Why a graph for one product: ONNX Runtime multiplies int8 rows several times faster than NumPy multiplies float32
ones, is as fast as NumPy in float32 and faster for a batch, converts float16 in blocks that stay in the cache, and
takes threads and execution providers from the configuration. float32 and float16 rows are memory-mapped and shared by
worker processes; int8 rows are repacked for the CPU when the graph is loaded.

There is an answer also where RouteLLM's formula has none: if the largest similarity is 0 (RouteLLM divides by it), no
battle is more similar to the query than another, and all weigh the same. If it is negative, RouteLLM's formula is
used. It then prefers the least similar battles; here without overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from routing_service.artifacts.loading import Artifact
from routing_service.artifacts.manifest import MANIFEST_NAME
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.vectors import MAX_DIMENSION, read_array
from routing_service.errors import ArtifactError
from routing_service.routers.embedding import Vectors, WinRates, self_test_vectors
from routing_service.routers.sw_ranking.bradley_terry import newton_ratings, routellm_ratings, win_rate

GRAPH, OUTCOMES, SELF_TEST = "similarity.onnx", "outcomes.npy", "self_test_embeddings.npy"
QUERIES, SIMILARITIES = "queries", "similarities"
# The graph of float16 rows converts them block by block.
OPERATORS = ("Scan",)
# The memory for ratings grows with the fourth power of the tiers.
MAX_TIERS, MAX_BATTLES = 64, 2**31 - 1
# Similarities of at most this size are rounding errors of a float32 product of unit vectors, not similarities.
NO_SIMILARITY = 1e-6
# A product of more queries than this is split, to limit memory: each needs a few numbers for each battle.
MAX_QUERIES = 32

Solver = Literal["routellm", "newton"]
Real = TypeVar("Real", np.float32, np.float64)


@dataclass(frozen=True, slots=True)
class TierSettings:
    """The options in the manifest of an `sw_ranking` artifact."""

    dimension: int
    """The length of a vector."""
    battles: int
    """How many battles, and rows, there are."""
    num_tiers: int
    """How many tiers there may be; some may have no model."""
    model2tier: dict[str, int]
    """Each model's tier, from 0, the highest rated, to num_tiers - 1."""
    embedding_model: str
    """The model that made the battles' vectors."""

    def __post_init__(self) -> None:
        for name, most in (("dimension", MAX_DIMENSION), ("battles", MAX_BATTLES), ("num_tiers", MAX_TIERS)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from 1 to {most:,}")
        if not self.model2tier or not all(0 <= tier < self.num_tiers for tier in self.model2tier.values()):
            raise ValueError(f"model2tier must give models tiers from 0 to {self.num_tiers - 1}")


class TierRanker:
    """Turns query vectors into win rates.

    Args:
        settings: the artifact's options.
        outcomes: the groups of rows, int64 of shape (outcomes, 4): first tier, second tier, 1 for a tie and 0 where the
            first won, number of rows. Tier `num_tiers` is the fixed player of `bradley_terry`.
        session: the open graph.
        solver: `routellm` gives RouteLLM's ratings; its optimizer stops early. `newton` gives the likelihood's maximum,
            mostly within 0.001 of win rate of RouteLLM's, and faster for batches.
    """

    def __init__(
        self,
        settings: TierSettings,
        outcomes: npt.NDArray[np.int64],
        session: ort.InferenceSession,
        solver: Solver = "routellm",
    ) -> None:
        self.settings = settings
        self._starts = np.concatenate(([0], outcomes[:-1, 3].cumsum()))
        self._wins_of_outcome = _wins_of_outcome(outcomes, settings.num_tiers + 1)
        self._session, self._solver = session, solver

    @classmethod
    def open(cls, artifact: Artifact, session: SessionConfig, solver: Solver = "routellm") -> Self:
        """Serve a verified folder, after its self-test.

        Raises:
            ArtifactError: a file or an option is wrong, or the recorded win rates are not reproduced.
        """
        settings = read_settings(artifact, TierSettings)
        if unknown := [name for name in artifact.models if name not in settings.model2tier]:
            raise ArtifactError(
                artifact.folder / MANIFEST_NAME, f"has the model {unknown[0]!r}, which is not in its model2tier"
            )
        outcomes = _outcomes(artifact.file(OUTCOMES), settings)
        graph = artifact.file(GRAPH)
        opened = open_session(graph, session, OPERATORS)
        if session_io(opened) != ({QUERIES: "tensor(float)"}, {SIMILARITIES: "tensor(float)"}):
            raise ArtifactError(
                graph, f"is not a graph from {QUERIES!r} to {SIMILARITIES!r}; export the artifact again"
            )
        # The recorded rates are RouteLLM's. Another solver shares everything else that could be wrong here.
        ranker = cls(settings, outcomes, opened)
        self_test_vectors(
            artifact, SELF_TEST, settings.dimension, lambda vectors: ranker.win_rates(vectors, *artifact.models)
        )
        return cls(settings, outcomes, opened, solver)

    def win_rates(self, vectors: Vectors, strong: str, weak: str) -> WinRates:
        """The win rates, in 0..1, of one model over another, both keys of `settings.model2tier`.

        Args:
            vectors: finite, of shape (queries, dimension) and of any length; a vector of zeros is similar to no battle.
            strong: the model whose win rates they are.
            weak: the other.
        """
        tiers = self.settings.model2tier
        ratings = self.ratings(vectors)
        return win_rate(ratings[:, tiers[strong]], ratings[:, tiers[weak]])

    def ratings(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        """The tiers' ratings for each query, of shape (queries, tiers); see `bradley_terry`."""
        wins = np.concatenate(
            [self._wins(vectors[first : first + MAX_QUERIES]) for first in range(0, len(vectors), MAX_QUERIES)]
        )
        if self._solver == "newton":
            return newton_ratings(wins)
        return np.stack([routellm_ratings(matrix) for matrix in wins])

    def _wins(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        similarities = self._session.run((SIMILARITIES,), {QUERIES: unit_vectors(vectors)})[0]
        # reduceat's own sums are sequential; in float64 their error does not grow with the battles.
        sums = np.add.reduceat(battle_weights(similarities), self._starts, axis=1, dtype=np.float64)
        size = self.settings.num_tiers + 1
        return (sums @ self._wins_of_outcome).reshape(len(vectors), size, size)


def unit_vectors(vectors: npt.NDArray[Any]) -> Vectors:
    """Rows scaled to length 1, as float32; a row of zeros stays zeros."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.vecdot(wide, wide))[:, np.newaxis]
    wide /= np.where(lengths > 0, lengths, 1.0)
    return wide.astype(np.float32)


def battle_weights(similarities: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """RouteLLM's weights of battles, scaled to a largest weight of 1; the ratings do not depend on the scale.

    Args:
        similarities: of shape (queries, battles).

    Returns:
        Weights in 0..1 of the same shape. Finite for finite similarities.
    """
    largest = similarities.max(axis=1, keepdims=True)
    alike = np.abs(largest) <= NO_SIMILARITY
    exponents = similarities / np.where(alike, 1.0, largest)
    exponents -= exponents.max(axis=1, keepdims=True)
    exponents *= ~alike
    exponents *= math.log(10.0)
    return np.exp(exponents, out=exponents)


def _wins_of_outcome(outcomes: npt.NDArray[np.int64], players: int) -> npt.NDArray[np.float64]:
    """The addition of each outcome with weight 1 to the matrix of wins: (outcomes, players * players).

    RouteLLM counts every battle twice; a tie is one win for each side.
    """
    wins = np.zeros((len(outcomes), players, players))
    first, second, tie, _ = outcomes.T
    index = np.arange(len(outcomes))
    wins[index, first, second] = 2 - tie
    wins[index, second, first] += tie
    return wins.reshape(len(outcomes), players * players)


def _outcomes(path: Path, settings: TierSettings) -> npt.NDArray[np.int64]:
    outcomes = read_array(path)
    if outcomes.dtype != np.int64 or outcomes.ndim != 2 or outcomes.shape[1] != 4 or not len(outcomes):
        problem = f"holds {outcomes.dtype} of shape {outcomes.shape}, not int64 of shape (outcomes, 4)"
    elif len(outcomes) > 2 * (settings.num_tiers + 1) ** 2:
        problem = f"has {len(outcomes):,} outcomes, more than {settings.num_tiers} tiers can have"
    elif outcomes.min() < 0 or outcomes[:, :2].max() > settings.num_tiers or outcomes[:, 2].max() > 1:
        problem = f"names tiers beyond {settings.num_tiers} or odd results"
    elif (outcomes[:, 0] == outcomes[:, 1]).any():
        problem = "has a tier beating itself"
    elif outcomes[:, 3].min() < 1 or outcomes[:, 3].sum() != settings.battles:
        problem = f"counts {outcomes[:, 3].sum()} battles, not {settings.battles}, or none of some outcome"
    else:
        found: npt.NDArray[np.int64] = outcomes
        return found
    raise ArtifactError(path, f"{problem}; export the artifact again")
