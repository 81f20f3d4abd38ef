"""One of our routers that read text beside RouteLLM's class, a prompt at a time, in turns (A B A B)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEER = Path(__file__).resolve().parent / "routellm_peer.py"


@dataclass
class Timings:
    """Seconds for a prompt, by its number of tokens and the side, a value for each turn; and the largest difference."""

    seconds: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    difference: dict[str, float] = field(default_factory=dict)

    def median_ms(self, tokens: int, side: str) -> float:
        """The median, in milliseconds."""
        return statistics.median(self.seconds[tokens][side]) * 1e3

    def speedup(self, tokens: int, side: str, peer: str) -> float:
        """How many times faster than the peer a side is: the median over the turns."""
        pairs = zip(self.seconds[tokens][peer], self.seconds[tokens][side], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


Score = Callable[[str], float]


class Peer:
    """RouteLLM's router in its own process."""

    def __init__(self, process: subprocess.Popen[str], versions: Mapping[str, str]) -> None:
        self._process, self.versions = process, versions
        self.seconds = 0.0

    def score(self, prompt: str) -> float:
        """The win rate; `seconds` is then RouteLLM's time, without the communication."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the peer was started without pipes")
        pipe_in.write(json.dumps(prompt) + "\n")
        pipe_in.flush()
        answer = json.loads(pipe_out.readline())
        self.seconds = float(answer["seconds"])
        return float(answer["win_rate"])


@contextlib.contextmanager
def peer(python: Path, kind: str, checkpoint: Path, *options: str) -> Iterator[Peer]:
    """Start RouteLLM's router of that kind with one thread; it ends with the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "none"}
    environment.pop("PYTHONPATH", None)
    command = [str(python), str(PEER), kind, str(checkpoint), "--threads", "1", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            first = process.stdout.readline() if process.stdout else ""
            if not first:
                raise RuntimeError(f"{python} cannot run RouteLLM's {kind}; it needs routellm==0.2.0 and torch")
            yield Peer(process, json.loads(first))
        finally:
            if process.stdin:
                process.stdin.close()


def measure(prompts: Mapping[int, Sequence[str]], sides: Mapping[str, Score], theirs: Mapping[str, Peer]) -> Timings:
    """Score every prompt with every side in turn. `prompts` are by their number of tokens.

    The first prompt of each length warms up and is not counted; differences are from the first peer.
    """
    timings = Timings(difference=dict.fromkeys(sides, 0.0))
    for tokens, texts in prompts.items():
        timings.seconds[tokens] = {side: [] for side in (*theirs, *sides)}
        for turn, text in enumerate(texts):
            rates = {}
            for side, router in theirs.items():
                rates[side] = router.score(text)
                if turn:
                    timings.seconds[tokens][side].append(router.seconds)
            for side, score in sides.items():
                start = time.perf_counter()
                rate = score(text)
                if turn:
                    timings.seconds[tokens][side].append(time.perf_counter() - start)
                timings.difference[side] = max(timings.difference[side], abs(rate - rates[next(iter(theirs))]))
    return timings


def add_peer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that both benchmarks have."""
    parser.add_argument("--peer-python", type=Path, required=True, metavar="PATH", help="a Python with routellm==0.2.0")
    parser.add_argument("--turns", type=int, default=15, metavar="N", help="prompts a length (default 15)")


def report(
    timings: Timings, sides: Sequence[str], peers: Sequence[str], targets: Mapping[str, float]
) -> dict[str, Any]:
    """Print a table and return its figures: milliseconds, speedups by length and side, whether targets are met."""
    figures: dict[str, Any] = {"difference": timings.difference, "tokens": {}}
    print(f"{'tokens':>6} {'router':<22} {'ms a prompt':>12} {'times faster':>13} {'wanted':>7}")
    for tokens in timings.seconds:
        rows: dict[str, Any] = {}
        for side in (*peers, *sides):
            speedup = timings.speedup(tokens, side, peers[0])
            wanted = targets.get(side)
            rows[side] = {"ms": timings.median_ms(tokens, side), "speedup": speedup}
            note = ""
            if wanted is not None:
                rows[side]["met"] = speedup >= wanted
                note = f"{wanted:>6.1f}x" + ("" if speedup >= wanted else "  short")
            print(f"{tokens:>6} {side:<22} {rows[side]['ms']:>12.2f} {speedup:>12.2f}x {note}")
        figures["tokens"][tokens] = rows
    for side, difference in timings.difference.items():
        print(f"{side}: win rates differ from {peers[0]} by {difference:.2g} at most")
    return figures
