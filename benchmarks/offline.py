"""`evaluate` and `calibrate`: time, memory, and how scoring scales with `--parallel`.

    python -m benchmarks.offline --data ../shared/data/routellm_evals --check

Commands are measured as a user starts them: whole processes, with files in the page cache. Scaling is measured on
100,000 different prompts made from MMLU's, scored by one process, then by as many as there are cores, from the first
start to the last score. The shipped router takes tens of microseconds for a prompt, so most of the cost is starting
processes and moving prompts. Name a slower router with --config and --router to see its gain.

Writes `benchmarks/out/offline-TIME.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from routing_lab.evals.registry import load_benchmark
from routing_lab.evals.routers import load_router, with_unconfigured
from routing_lab.evals.scoring import Scoring, win_rates

from benchmarks.decision import FOLDER, Result, table
from benchmarks.machine import describe
from routing_service.config import load_config
from routing_service.errors import RoutingServiceError

PROMPTS = 100_000


def timed(*arguments: str) -> tuple[float, float]:
    """Run `routing-service` with these arguments. Returns its seconds and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "routing_service", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"routing-service {' '.join(arguments)} exited with {process.returncode}")
    # Linux counts in KiB, macOS in bytes.
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def evaluate(data: Path, turns: int, folder: Path) -> list[Result]:
    """`evaluate --routers static --benchmark mmlu`, without and with cached win rates."""
    cold, cached = Result("evaluate static on mmlu, cold", "s"), Result("evaluate static on mmlu, cached", "s")
    for turn in range(turns):
        kept = str(folder / f"cache-{turn}")
        arguments = ("evaluate", "--routers", "static", "--benchmark", "mmlu", "--data", str(data), "--cache-dir", kept)
        for result in (cold, cached):
            result.ours.append(timed(*arguments)[0])
    return [cold.require(at_most=15), cached.require(at_most=3)]


def calibrate(prompts: list[str], turns: int, folder: Path) -> list[Result]:
    """`calibrate` on a file of prompts."""
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts), encoding="utf-8")
    seconds = Result(f"calibrate static on {len(prompts):,} prompts", "s")
    memory = Result("calibrate, peak memory", "MB")
    for _ in range(turns):
        took, held = timed("calibrate", "--router", "static", "--strong-model-pct", "0.5", "--input", str(path))
        seconds.ours.append(took)
        memory.ours.append(held)
    return [seconds.require(at_most=15), memory.require(at_most=500)]


def scaling(prompts: list[str], turns: int, config: Path | None, router: str, processes: list[int]) -> list[Result]:
    """Prompts scored per second by each number of processes, in turns."""
    known = with_unconfigured(load_config(config), [router], seed=0)
    loaded = load_router(known, router, None, None)
    results = {n: Result(f"scoring with {router}, --parallel {n}", "prompts/s") for n in processes}
    try:
        for _ in range(turns):
            for count, result in results.items():
                start = time.perf_counter()
                win_rates(loaded, prompts, Scoring(known, count, lambda *_: nullcontext(int)))
                result.ours.append(len(prompts) / (time.perf_counter() - start))
    finally:
        loaded.close()
    return list(results.values())


def main() -> int:
    """Measure, print a table, and write the figures. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="RouteLLM's folder routellm/evals")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="how often each is measured (default 3)")
    parser.add_argument("--prompts", type=int, default=PROMPTS, metavar="N", help=f"to score (default {PROMPTS:,})")
    parser.add_argument("--config", type=Path, metavar="F", help="where --router is configured")
    parser.add_argument("--router", default="static", metavar="R", help="whose scaling is measured (default static)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    try:
        some = load_benchmark("mmlu", options.data).distinct_prompts
    except RoutingServiceError as error:
        parser.error(str(error))
    prompts = [f"({i}) {some[i % len(some)]}" for i in range(options.prompts)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [
            *evaluate(options.data, options.turns, folder),
            *calibrate(prompts, options.turns, folder),
            *scaling(prompts, options.turns, options.config, options.router, sorted({1, 2, cores})),
        ]
    print(json.dumps(describe(), indent=2), table(results), sep="\n\n")
    output = FOLDER / "out" / time.strftime("offline-%Y%m%dT%H%M%SZ.json", time.gmtime())
    output.parent.mkdir(exist_ok=True)
    rows = [asdict(result) for result in results]
    output.write_text(json.dumps({"machine": describe(), "results": rows}, indent=2) + "\n", encoding="utf-8")
    return 1 if options.check and any(result.met is False for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
