"""`sw_ranking` beside RouteLLM 0.2.0's class: seconds for each query, win rates, memory.

    python -m benchmarks.routers_sw_ranking --peer-python PATH   # a Python with routellm==0.2.0

The data is made here: battles between 64 models of known strength, and random unit vectors, which are the hardest
case for a compressed matrix, because no battle is much more similar to a query than another. Embedding is left out
on both sides. Every variant has its own process; they take turns, query by query.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe
from export_onnx import sw_ranking
from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.models import ROUTELLM_PAIR
from routing_service.routers.sw_ranking.tier_ranking import Solver, TierRanker

PEER_WORKER = Path(__file__).with_name("routellm_sw_ranking_worker.py")
PEER = "RouteLLM 0.2.0"
VARIANTS: dict[str, tuple[str, Solver]] = {
    "fp32": ("fp32", "routellm"),
    "fp32, newton": ("fp32", "newton"),
    "fp16": ("fp16", "routellm"),
    "int8": ("int8", "routellm"),
}
HEADS = {"ms": 8, "times": 7, "32 at once, ms each": 20, "off by": 8, "RSS MB": 7, "own MB": 7, "export s": 9}
MODELS = 64
QUERIES = 32
# A matrix library's threads spin for a while after a product, and would slow the next process.
PAUSE_SECONDS = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument(
        "--peer-python", metavar="PATH", help="a Python with routellm==0.2.0; without it only ours runs"
    )
    parser.add_argument("--battles", type=int, default=55_000, help="default: %(default)s")
    parser.add_argument("--dimension", type=int, default=1536, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=11, help="queries to time, at most 32 (default: %(default)s)")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Print a table and return its figures by variant."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_data(folder, args.battles, args.dimension)
        exports = {precision: _export(folder, precision) for precision in sorted({p for p, _ in VARIANTS.values()})}
        figures = _measure(folder, args.peer_python, args.rounds)
    result = {"machine": describe(), "battles": args.battles, "dimension": args.dimension, "variants": figures}
    print(f"sw_ranking, {args.battles:,} battles of {args.dimension:,} dimensions, one query, medians of {args.rounds}")
    print(f"{'':16} {' '.join(f'{head:>{width}}' for head, width in HEADS.items())}")
    for variant, row in figures.items():
        export = exports.get(VARIANTS[variant][0]) if variant in VARIANTS else None
        cells = (row["ms"], row["times_faster"], row["batch_ms"], row["max_difference"])
        formats = ("8.2f", "7.1f", "20.2f", "8.1e")
        text = " ".join(_cell(cell, form) for cell, form in zip(cells, formats, strict=True))
        print(f"{variant:16} {text} {row['rss_mb']:7.0f} {row['anonymous_mb']:7.0f} {_cell(export, '9.1f')}")
    return result


def _cell(value: float | None, form: str) -> str:
    return " " * int(form.partition(".")[0]) if value is None else format(value, form)


def _make_data(folder: Path, battles: int, dimension: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    names = np.array([*ROUTELLM_PAIR, *(f"model-{number}" for number in range(MODELS - 2))])
    strength = rng.normal(0.0, 0.4, MODELS)
    a = rng.integers(MODELS, size=battles)
    b = (a + rng.integers(1, MODELS, size=battles)) % MODELS
    tie = rng.random(battles) < 0.3
    a_wins = ~tie & (rng.random(battles) < 1 / (1 + 10 ** (strength[b] - strength[a])))
    columns = {
        "model_a": names[a].tolist(),
        "model_b": names[b].tolist(),
        "prompt": [json.dumps([f"What is the answer to question {number}?"]) for number in range(battles)],
        "winner_model_a": a_wins.astype(int),
        "winner_model_b": (~tie & ~a_wins).astype(int),
        "winner_tie": tie.astype(int),
    }
    parquet.write_table(pa.table(columns), folder / "battles.parquet")
    vectors = _unit(rng.standard_normal((battles, dimension), np.float32))
    np.save(folder / "embeddings.npy", vectors)
    np.save(folder / "queries.npy", _unit(rng.standard_normal((QUERIES, dimension), np.float32)))
    column = pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), dimension)
    parquet.write_table(pa.table({"embeddings": column}), folder / "embeddings.parquet")


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _export(folder: Path, precision: str) -> float:
    parser = argparse.ArgumentParser()
    sw_ranking.add_arguments(parser)
    files = ["--battles", str(folder / "battles.parquet"), "--embeddings", str(folder / "embeddings.parquet")]
    options = parser.parse_args([*files, "--precision", precision])
    options.output = folder / precision
    start = time.perf_counter()
    print(sw_ranking.run(options), file=sys.stderr)
    return time.perf_counter() - start


class _Worker:
    """A process that answers queries by their numbers."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, query: int) -> dict[str, float]:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        print(query, file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, float]:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with code {self._process.wait()}; its error is above")
        answer: dict[str, float] = json.loads(line)
        return answer

    def memory_mb(self, field: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(kilobytes) / 1000


@contextmanager
def _workers(folder: Path, peer_python: str | None) -> Iterator[dict[str, _Worker]]:
    commands = {}
    if peer_python:
        commands[PEER] = [peer_python, str(PEER_WORKER), str(folder)]
    for variant in VARIANTS:
        commands[variant] = [sys.executable, "-m", "benchmarks.routers_sw_ranking", "--serve", variant, str(folder)]
    workers: dict[str, _Worker] = {}
    try:
        for variant, command in commands.items():
            workers[variant] = _Worker(command)
        yield workers
    finally:
        for worker in workers.values():
            worker.__exit__()


def _measure(folder: Path, peer_python: str | None, rounds: int) -> dict[str, Any]:
    with _workers(folder, peer_python) as workers:
        for worker in workers.values():
            worker.ask(0)
        answers: dict[str, list[dict[str, float]]] = {variant: [] for variant in workers}
        for query in range(rounds):
            for variant, worker in workers.items():
                time.sleep(PAUSE_SECONDS)
                answers[variant].append(worker.ask(query))
        batch = {variant: worker.ask(-1)["seconds"] for variant, worker in workers.items() if variant != PEER}
        memory = {
            variant: (worker.memory_mb("VmRSS"), worker.memory_mb("RssAnon")) for variant, worker in workers.items()
        }
    milliseconds = {
        variant: 1e3 * statistics.median(answer["seconds"] for answer in answers[variant]) for variant in workers
    }
    return {
        variant: {
            "ms": milliseconds[variant],
            "times_faster": milliseconds[PEER] / milliseconds[variant] if PEER in workers else None,
            "batch_ms": 1e3 * batch[variant] / QUERIES if variant in batch else None,
            "max_difference": _max_difference(answers[PEER], answers[variant]) if PEER in workers else None,
            "rss_mb": memory[variant][0],
            "anonymous_mb": memory[variant][1],
        }
        for variant in workers
    }


def _max_difference(source: list[dict[str, float]], ours: list[dict[str, float]]) -> float:
    pairs = zip(source, ours, strict=True)
    return max(abs(one["strong_win_rate"] - other["strong_win_rate"]) for one, other in pairs)


def _serve(variant: str, folder: Path) -> None:
    """One of our variants as a worker; the number -1 asks for all queries at once."""
    precision, solver = VARIANTS[variant]
    ranker = TierRanker.open(open_artifact(folder / precision, "sw_ranking"), SessionConfig(), solver)
    queries = np.load(folder / "queries.npy")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        number = int(line)
        asked = queries if number < 0 else queries[number : number + 1]
        start = time.perf_counter()
        rates = ranker.win_rates(asked, *ROUTELLM_PAIR)
        print(json.dumps({"seconds": time.perf_counter() - start, "strong_win_rate": float(rates[0])}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(sys.argv[2], Path(sys.argv[3]))
    else:
        arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        add_arguments(arguments)
        main(arguments.parse_args())
