"""`mf` beside RouteLLM 0.2.0's class: microseconds for each prompt without its embedding, and win rates.

    python -m benchmarks.routers_mf --peer-python PATH   # a Python with routellm==0.2.0

The checkpoint has random weights of RouteLLM's sizes. Each of our precisions and the peer take turns, 64 queries at a
time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from benchmarks.machine import describe
from export_onnx import mf
from routing_service.artifacts.loading import open_artifact
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.models import ROUTELLM_PAIR
from routing_service.routers.mf import MatrixFactorizationRouter

PEER_WORKER = Path(__file__).with_name("routellm_mf_worker.py")
PEER = "RouteLLM 0.2.0"
PRECISIONS = ("fp32", "fp16", "int8")
MODELS, HIDDEN, DIMENSION = 64, 128, 1536
QUERIES = 64


class Stored(Embedder):
    """The text "i" has the i-th stored vector: the time of a score has no embedding in it."""

    def __init__(self, vectors: npt.NDArray[np.float32]) -> None:
        super().__init__(dimension=vectors.shape[1])
        self._vectors = vectors

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        raise NotImplementedError(context.name)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(self._vectors[[int(text) for text in texts]], None, [False] * len(texts))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument(
        "--peer-python", metavar="PATH", help="a Python with routellm==0.2.0; without it only ours runs"
    )
    parser.add_argument("--rounds", type=int, default=30, help="rounds over 64 queries (default: %(default)s)")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Print a table and return its figures by variant."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = _make_data(folder)
        ask: dict[str, Callable[[int], tuple[float, float]]] = {
            precision: _ours(folder, precision, vectors) for precision in PRECISIONS
        }
        peer = None
        if args.peer_python:
            command = [args.peer_python, str(PEER_WORKER), str(folder / "checkpoint"), str(folder / "embeddings.npy")]
            peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if peer is not None:
                ask[PEER] = _theirs(peer)
            figures = _measure(ask, args.rounds)
        finally:
            if peer is not None:
                peer.kill()
                peer.wait()
    print(f"mf's head, {MODELS} models, {HIDDEN} x {DIMENSION}, one prompt, medians of {args.rounds * QUERIES}")
    print(f"{'':16} {'us':>8} {'p99 us':>8} {'times':>7} {'off by':>8}")
    for variant, row in figures.items():
        print(f"{variant:16} {row['us']:8.1f} {row['p99_us']:8.1f} {row['times_faster']:7.1f} {row['off_by']:8.1e}")
    return {"machine": describe(), "variants": figures}


def _make_data(folder: Path) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    (folder / "checkpoint").mkdir()
    sizes = {"dim": HIDDEN, "num_classes": 1, "num_models": MODELS, "text_dim": DIMENSION, "use_proj": True}
    (folder / "checkpoint" / "config.json").write_text(json.dumps(sizes))
    shapes = {
        "P.weight": (MODELS, HIDDEN),
        "text_proj.0.weight": (HIDDEN, DIMENSION),
        "classifier.0.weight": (1, HIDDEN),
    }
    tensors = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, str(folder / "checkpoint" / "model.safetensors"))
    vectors = rng.standard_normal((QUERIES, DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / "embeddings.npy", vectors)
    return vectors


def _ours(folder: Path, precision: str, vectors: npt.NDArray[np.float32]) -> Callable[[int], tuple[float, float]]:
    options = argparse.Namespace(
        checkpoint=str(folder / "checkpoint"),
        output=folder / precision,
        quantize=None if precision == "fp32" else precision,
        **dict.fromkeys(("strong_model", "weak_model", "models", "embedding_model", "embeddings")),
    )
    print(mf.run(options), file=sys.stderr)
    router = MatrixFactorizationRouter(open_artifact(folder / precision, "mf"), Stored(vectors))

    def ask(query: int) -> tuple[float, float]:
        start = time.perf_counter()
        scores = router.score([str(query)], ROUTELLM_PAIR)
        return (time.perf_counter() - start) * 1e6, scores.strong_win_rates[0]

    return ask


def _theirs(peer: subprocess.Popen[str]) -> Callable[[int], tuple[float, float]]:
    def answer() -> dict[str, float]:
        line = peer.stdout.readline() if peer.stdout else ""
        if not line:
            raise SystemExit(f"the peer ended with code {peer.wait()}; its error is above")
        found: dict[str, float] = json.loads(line)
        return found

    def ask(query: int) -> tuple[float, float]:
        print(query, file=peer.stdin, flush=True)
        found = answer()
        return found["us"], found["win_rate"]

    answer()  # it is ready
    return ask


def _measure(ask: dict[str, Callable[[int], tuple[float, float]]], rounds: int) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = {variant: [] for variant in ask}
    rates: dict[str, dict[int, float]] = {variant: {} for variant in ask}
    for _ in range(rounds):
        for variant, one in ask.items():
            for query in range(QUERIES):
                microseconds, rates[variant][query] = one(query)
                times[variant].append(microseconds)
    reference = PEER if PEER in ask else PRECISIONS[0]
    figures = {}
    for variant, taken in times.items():
        median = statistics.median(taken)
        figures[variant] = {
            "us": median,
            "p99_us": statistics.quantiles(taken, n=100)[98],
            "times_faster": statistics.median(times[reference]) / median,
            "off_by": max(abs(rates[variant][query] - rates[reference][query]) for query in range(QUERIES)),
        }
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    main(parser.parse_args())
