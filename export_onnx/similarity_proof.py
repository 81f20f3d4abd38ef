"""The source side of `sw_ranking`'s parity proof: RouteLLM's computation, battle by battle, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from export_onnx.battles import A_WINS, TIE, Battles
from routing_service.models import ModelPair
from routing_service.routers.sw_ranking import lbfgs
from routing_service.routers.sw_ranking.bradley_terry import GRADIENT_TOLERANCE, LN10, MAX_ITERATIONS
from routing_service.routers.sw_ranking.tier_ranking import battle_weights

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

OF_A_KIND = 4
BLOCK = 4096


def proof_queries(embeddings: Float32) -> Float32:
    """Unit vectors to prove parity on: prompts of battles, sums of two, and directions by chance, like no prompt."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(embeddings), size=(2, OF_A_KIND))
    prompts = embeddings[chosen].astype(np.float64)
    drawn = rng.standard_normal((OF_A_KIND, embeddings.shape[1]))
    queries = np.concatenate([prompts[0], prompts.sum(axis=0), drawn])
    found: Float32 = (queries / np.maximum(_lengths(queries), 1e-12)).astype(np.float32)
    return found


def source_win_rates(
    battles: Battles, model2tier: Mapping[str, int], embeddings: Float32, queries: Float32, pair: ModelPair
) -> Float64:
    """The win rates of `pair` for queries of shape (queries, dimension), from weighted battles, one row each.

    Args:
        battles: in the order of `embeddings`.
        model2tier: each model's tier.
        embeddings: float32 of shape (battles, dimension), not normalised.
        queries: float32 of shape (queries, dimension).
        pair: two of the battles' models.
    """
    tier = np.array([model2tier[name] for name in battles.models])
    tier_a, tier_b = tier[battles.a], tier[battles.b]
    strong, weak = model2tier[pair.strong], model2tier[pair.weak]
    rates = []
    for weights in battle_weights(_cosines(queries, embeddings)):
        ratings = _ratings(tier_a, tier_b, battles.outcome, weights, max(model2tier.values()) + 1)
        rates.append(1.0 / (1.0 + 10.0 ** (ratings[weak] - ratings[strong])))
    return np.array(rates)


def _ratings(
    a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], outcome: npt.NDArray[np.int64], weights: Float64, tiers: int
) -> Float64:
    # The design matrix's +1 for a is overwritten by the -1 for b where they are the same tier.
    has_a = (a != b).astype(np.float64)
    wins_a = np.select([outcome == A_WINS, outcome == TIE], [1.0, 0.5], 0.0)
    share = weights / weights.sum()

    def objective(ratings: Float64) -> tuple[float, Float64]:
        logits = LN10 * (has_a * ratings[a] - ratings[b])
        loss = wins_a * np.logaddexp(0.0, -logits) + (1.0 - wins_a) * np.logaddexp(0.0, logits)
        pull = LN10 * share * (0.5 + 0.5 * np.tanh(0.5 * logits) - wins_a)
        # numpy types bincount as counting integers, weights or not
        gradient = np.asarray(np.bincount(a, pull * has_a, tiers) - np.bincount(b, pull, tiers), np.float64)
        return float(share @ loss), gradient

    return lbfgs.minimize(
        objective, np.zeros(tiers), gradient_tolerance=GRADIENT_TOLERANCE, max_iterations=MAX_ITERATIONS
    )


def _cosines(queries: Float32, embeddings: Float32) -> Float64:
    wide = queries.astype(np.float64)
    blocks = []
    for first in range(0, len(embeddings), BLOCK):
        block = embeddings[first : first + BLOCK].astype(np.float64)
        blocks.append(wide @ (block / _lengths(block)).T)
    return np.concatenate(blocks, axis=1) / _lengths(wide)


def _lengths(vectors: Float64) -> Float64:
    lengths: Float64 = np.sqrt(np.vecdot(vectors, vectors))[:, np.newaxis]
    return lengths
