"""`export-onnx sw_ranking`: battles and the embeddings of their prompts to an artifact.

What RouteLLM computes at every start is computed once: each model's overall rating, the tiers, and unit vectors. Rows
are put in the order of their outcomes between tiers, so that a query's weights become a matrix of wins by one sum an
outcome.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export_onnx.battles import B_WINS, TIE, Battles, read_battles, read_embeddings
from export_onnx.parity import Parity, prove
from export_onnx.quantize import Precision
from export_onnx.similarity_graph import write_graph
from export_onnx.similarity_proof import proof_queries, source_win_rates
from export_onnx.tables import find_tables
from export_onnx.tiers import compute_tiers
from routing_service.artifacts.manifest import Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session
from routing_service.artifacts.writing import new_artifact
from routing_service.errors import UsageError, unknown_name
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.sw_ranking.bradley_terry import routellm_ratings
from routing_service.routers.sw_ranking.tier_ranking import (
    GRAPH,
    MAX_TIERS,
    OPERATORS,
    OUTCOMES,
    SELF_TEST,
    TierRanker,
    TierSettings,
    unit_vectors,
)
from routing_service.rows.model_names import canonical_model

Indices = npt.NDArray[np.int64]

# RouteLLM's: its embeddings are this model's.
EMBEDDING_MODEL = "text-embedding-3-small"
# For people: what that model reads. The embedder at run time knows its own limit.
MAX_TOKENS = 8191
NUM_TIERS = 10
# Tighter than other exports' tolerance: a compressed matrix must give the same decisions.
COMPRESSED_TOLERANCE = 2e-3
SELF_TEST_VECTORS = 8
# Wider than rounding, because the optimiser may stop a step earlier or later on another CPU.
SELF_TEST_TOLERANCE = 2e-3
ELO_SCALE, ELO_START = 400.0, 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside `--output`."""
    source = "JSON lines, CSV or Parquet files, folders of them, or data sets of the Hugging Face hub (OWNER/NAME)"
    parser.add_argument(
        "--battles", nargs="+", required=True, metavar="F", help=f"{source}, with the columns of arena-55k"
    )
    parser.add_argument(
        "--embeddings",
        nargs="+",
        required=True,
        metavar="F",
        help="likewise, with a column `embeddings`: a vector for each battle that is kept, in the battles' order",
    )
    parser.add_argument("--num-tiers", type=int, default=NUM_TIERS, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="how vectors are stored; fp16: half the size, int8: a quarter, and several times faster (default: fp32)",
    )
    parser.add_argument(
        "--strong-model", metavar="M", help=f"one of the battles' models (default: {ROUTELLM_PAIR.strong})"
    )
    parser.add_argument("--weak-model", metavar="M", help=f"one of the battles' models (default: {ROUTELLM_PAIR.weak})")
    parser.add_argument(
        "--embedding-model",
        default=EMBEDDING_MODEL,
        metavar="NAME",
        help="the model that made the embeddings, and must make those of prompts (default: %(default)s)",
    )
    parser.add_argument(
        "--license",
        default="NOASSERTION",
        metavar="SPDX",
        help="the data's licence, for the manifest (default: not stated)",
    )


@dataclass(frozen=True, slots=True)
class Ranking:
    """Battles between tiers.

    `model2tier` gives each model's tier; `order` is the order of rows in the artifact, int64 (battles,); `outcomes` its
    groups, int64 (outcomes, 4): first tier, second tier, 1 for a tie and 0 where the first won, number of rows.
    """

    model2tier: dict[str, int]
    order: npt.NDArray[np.int64]
    outcomes: npt.NDArray[np.int64]


def run(options: argparse.Namespace) -> str:
    """Export battles and give the closing report.

    Raises:
        UsageError: a file or an option is wrong, or the artifact's win rates are not those of the battles.
    """
    start = time.perf_counter()
    if not 1 <= options.num_tiers <= MAX_TIERS:
        raise UsageError(f"--num-tiers must be from 1 to {MAX_TIERS}, not {options.num_tiers}")
    battle_files = find_tables("--battles", options.battles)
    embedding_files = find_tables("--embeddings", options.embeddings)
    pair = ROUTELLM_PAIR.with_options(options.strong_model, options.weak_model)
    battles = read_battles(battle_files, tuple(pair))
    _check_pair(pair, battles)
    embeddings = read_embeddings(embedding_files, battles)
    ranking = rank(battles, options.num_tiers)
    precision: Precision = options.precision
    queries = proof_queries(embeddings)
    settings = TierSettings(
        dimension=embeddings.shape[1],
        battles=len(battles),
        num_tiers=options.num_tiers,
        model2tier=ranking.model2tier,
        embedding_model=options.embedding_model,
    )
    with new_artifact(Path(options.output), lambda artifact: TierRanker.open(artifact, SessionConfig())) as draft:
        folder = draft.folder
        names = write_graph(folder / GRAPH, unit_vectors(embeddings[ranking.order]), precision)
        np.save(folder / OUTCOMES, ranking.outcomes)
        np.save(folder / SELF_TEST, queries[:SELF_TEST_VECTORS])
        ranker = TierRanker(settings, ranking.outcomes, open_session(folder / GRAPH, SessionConfig(), OPERATORS))
        exported = ranker.win_rates(queries, *pair)
        parity = _prove(source_win_rates(battles, ranking.model2tier, embeddings, queries, pair), exported, precision)
        recorded = exported[:SELF_TEST_VECTORS].tolist()
        manifest = draft.write_manifest(
            Manifest(
                type="sw_ranking",
                models=pair,
                max_tokens=MAX_TOKENS,
                files={name: file_entry(folder / name) for name in (*names, OUTCOMES, SELF_TEST)},
                license=options.license,
                self_test=SelfTest(
                    SELF_TEST_TOLERANCE,
                    tuple(SelfTestVector(f"row {row} of {SELF_TEST}", rate) for row, rate in enumerate(recorded)),
                ),
                options=asdict(settings),
                provenance={
                    "battles": [file.provenance() for file in battle_files],
                    "embeddings": [file.provenance() for file in embedding_files],
                    "short_prompts_left_out": battles.dropped,
                    "precision": precision,
                    "parity": parity.as_dict(),
                    "libraries": {name: version(name) for name in ("numpy", "onnx", "onnxruntime")},
                },
            )
        )
    size = sum(entry.bytes for entry in manifest.files.values())
    return (
        f"{options.output}: sw_ranking, {precision}, {len(battles):,} battles of {len(battles.models)} models in "
        f"{len(set(ranking.model2tier.values()))} tiers, embeddings of length {settings.dimension} by "
        f"{settings.embedding_model}; {size / 1e6:.2f} MB in {time.perf_counter() - start:.1f} s; "
        f"revision {manifest.revision}\n"
        f"parity over {parity.prompts:,} win rates: {parity.max_difference:.2g} at most, "
        f"{parity.mean_difference:.2g} on average"
    )


def rank(battles: Battles, num_tiers: int) -> Ranking:
    """Put models into tiers by their overall rating, and battles in the order of their outcomes between tiers."""
    ratings = routellm_ratings(_win_matrix(battles))
    elo = {name: ELO_START + ELO_SCALE * float(rating) for name, rating in zip(battles.models, ratings, strict=True)}
    model2tier = compute_tiers(elo, num_tiers)
    tier = np.array([model2tier[name] for name in battles.models])
    first, second, tie = _results(tier[battles.a], tier[battles.b], battles.outcome, num_tiers)
    keys, group, rows = np.unique(np.stack([first, second, tie]), axis=1, return_inverse=True, return_counts=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    return Ranking(model2tier, order, np.column_stack([keys.T, rows]).astype(np.int64))


def _results(a: Indices, b: Indices, outcome: Indices, fixed: int) -> tuple[Indices, Indices, Indices]:
    """Each battle's winner, loser and 0, or for a tie both sides, the lower first, and 1.

    In a battle of a player with itself side a is `fixed`: see `bradley_terry`.
    """
    a = np.where(a == b, fixed, a)
    tie = outcome == TIE
    swap = np.where(tie, a > b, outcome == B_WINS)
    return np.where(swap, b, a), np.where(swap, a, b), tie.astype(np.int64)


def _win_matrix(battles: Battles) -> npt.NDArray[np.float64]:
    """Wins between models, every battle counted twice, a tie as one win each; the last player is the fixed one."""
    players = len(battles.models) + 1
    first, second, tie = _results(battles.a, battles.b, battles.outcome, len(battles.models))
    wins = np.zeros((players, players))
    np.add.at(wins, (first, second), 2 - tie)
    np.add.at(wins, (second, first), tie)
    return wins


def _prove(source: npt.NDArray[np.float64], exported: npt.NDArray[np.float64], precision: Precision) -> Parity:
    parity = prove(source, exported, precision)
    if parity.max_difference > COMPRESSED_TOLERANCE:
        raise UsageError(
            f"the {precision} export differs from the battles' own win rates by {parity.max_difference:.2g} at most "
            f"(allowed: {COMPRESSED_TOLERANCE:g}); nothing was written. Export with a higher --precision."
        )
    return parity


def _check_pair(pair: ModelPair, battles: Battles) -> None:
    if canonical_model(pair.strong) == canonical_model(pair.weak):
        raise UsageError(f"--strong-model and --weak-model are both {pair.strong!r}; name two different models")
    for side, name in asdict(pair).items():
        if name not in battles.models:
            raise UsageError(f"--{side}-model: {unknown_name('model with battles', name, battles.models)}")
