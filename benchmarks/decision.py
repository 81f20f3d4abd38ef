"""Decision latency and throughput of `routing-service serve` against a bare `grpc.aio` echo server: `make bench`.

Both servers run all the time, each as one process on the same core, and take turns (A B A B). The load has another
core. Each pair of turns gives a ratio. The reported ratio is the median over the pairs: a slow moment of the
machine affects both sides. Writes `benchmarks/out/decision-TIME.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from routing_client.proto import routing_service_pb2 as pb

from benchmarks.load import Call, latencies, median_ms, prepare, throughput
from benchmarks.machine import describe
from benchmarks.servers import ECHO, Server, ours, running

FOLDER = Path(__file__).resolve().parent
IN_FLIGHT = 32
BATCH = 64
MEGABYTE = 1_000_000
UNCACHED = Path(__file__).parent / "uncached.yaml"


@dataclass
class Result:
    """One figure: ours, and the echo server's if there is a peer; a value for each turn."""

    name: str
    unit: str
    target: str = ""
    ours: list[float] = field(default_factory=list)
    echo: list[float] = field(default_factory=list)
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """The median over the pairs of ours to echo, None without a peer."""
        pairs = [a / b for a, b in zip(self.ours, self.echo, strict=False)]
        return statistics.median(pairs) if pairs else None

    def require(self, *, at_least: float | None = None, at_most: float | None = None) -> Result:
        """Compare the ratio, or without a peer the median, with a bound."""
        value = statistics.median(self.ours) if self.ratio is None else self.ratio
        kind = "" if self.ratio is None else " of echo's"
        if at_least is not None:
            self.target, self.met = f">= {at_least:,g}{kind}", value >= at_least
        if at_most is not None:
            self.target, self.met = f"<= {at_most:,g}{kind}", value <= at_most
        return self


@dataclass(frozen=True)
class Bench:
    """Used by every measurement."""

    sides: dict[str, Server]
    load_core: int
    folder: Path
    pairs: int
    seconds: float
    prompts: dict[str, list[str]]

    def calls(
        self, method: str, requests: dict[str, pb.DecideRequest | pb.BatchDecideRequest]
    ) -> dict[str, list[Call]]:
        """Each request, tried and recorded, for each side."""
        return {
            side: [
                prepare(server.address, method, request, self.folder / f"{side}-{method}-{name}.bin")
                for name, request in requests.items()
            ]
            for side, server in self.sides.items()
        }

    def in_turns(self, result: Result, measure: Callable[[str, Server], float]) -> Result:
        """A B A B: measure both sides alternately. The first turn of each does not count."""
        for turn in range(-1, self.pairs):
            for side, server in self.sides.items():
                value = measure(side, server)
                if turn >= 0:
                    getattr(result, side).append(value)
        return result

    def latency_in_turns(self, name: str, calls: dict[str, Call], count: int) -> Result:
        """The median latency of one call for each side, sent `count` times in each turn with one in flight."""
        log = self.folder / "latencies"
        return self.in_turns(
            Result(name, "ms"),
            lambda side, server: median_ms(latencies(server.address, calls[side], self.load_core, count, log)),
        )


def unary_throughput(bench: Bench) -> Result:
    """Decide, with a mix of prompts and `IN_FLIGHT` requests outstanding."""
    # One connection for each prompt, because h2load repeats a single body: eight of every length and script.
    spread = [prompts[i] for i in range(2) for prompts in bench.prompts.values() if i < len(prompts)][:8]
    calls = bench.calls("Decide", {str(i): pb.DecideRequest(prompt=prompt) for i, prompt in enumerate(spread)})
    return bench.in_turns(
        Result(f"Decide, mixed prompts, {IN_FLIGHT} in flight", "calls/s"),
        lambda side, server: throughput(server.address, calls[side], bench.load_core, IN_FLIGHT, bench.seconds),
    ).require(at_least=0.75)


def unary_latency(bench: Bench) -> list[Result]:
    """Decide, one request at a time, for each kind of prompt, and over all kinds."""
    kinds = {kind: prompts[0] for kind, prompts in bench.prompts.items()}
    calls = bench.calls("Decide", {kind: pb.DecideRequest(prompt=prompt) for kind, prompt in kinds.items()})
    each = []
    for i, (kind, prompt) in enumerate(kinds.items()):
        size = len(prompt.encode())
        each.append(
            bench.latency_in_turns(
                f"Decide p50, {kind} ({size:,} bytes), 1 in flight",
                {side: mine[i] for side, mine in calls.items()},
                1500,
            )
        )
    pooled = Result("Decide p50, mean of the kinds, 1 in flight", "ms")
    pooled.ours = [statistics.mean(values) for values in zip(*(result.ours for result in each), strict=True)]
    pooled.echo = [statistics.mean(values) for values in zip(*(result.echo for result in each), strict=True)]
    return [pooled.require(at_most=1.4), *each]


def batch_throughput(bench: Bench) -> Result:
    """BatchDecide of `BATCH` different prompts: decisions per second from the server's one core."""
    prompts = [prompt for group in bench.prompts.values() for prompt in group]
    texts = [f"({i}) {prompts[i % len(prompts)]}" for i in range(BATCH)]
    request = pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=text) for text in texts])
    calls = bench.calls("BatchDecide", {"mixed": request})
    result = bench.in_turns(
        Result(f"BatchDecide of {BATCH}, mixed prompts, 2 in flight", "decisions/s"),
        lambda side, server: BATCH * throughput(server.address, calls[side], bench.load_core, 2, bench.seconds),
    )
    result.target, result.met = ">= 10,000", statistics.median(result.ours) >= 10_000
    return result


def megabyte_latency(bench: Bench) -> list[Result]:
    """Decide on a prompt of a megabyte, of three kinds; the echo server shows the cost of moving it."""
    text = " ".join(prompt for group in bench.prompts.values() for prompt in group if prompt.isascii()) + " "
    bodies = {
        "text": (text * (MEGABYTE // len(text) + 1))[:MEGABYTE],
        "one word": "a" * MEGABYTE,
        "Japanese": "江戸時代の制度" * (MEGABYTE // 21),
    }
    calls = bench.calls("Decide", {kind: pb.DecideRequest(prompt=prompt) for kind, prompt in bodies.items()})
    results = []
    for i, kind in enumerate(bodies):
        call = {side: mine[i] for side, mine in calls.items()}
        result = bench.latency_in_turns(f"Decide p50, 1 MB of {kind}, 1 in flight", call, 60)
        result.target, result.met = "< 20", statistics.median(result.ours) < 20
        results.append(result)
    return results


def start_time(config: Path | None, core: int, folder: Path) -> Result:
    """From the process's start to SERVING, five times, with the files in the page cache."""
    result = Result("start to SERVING", "s")
    for turn in range(6):
        with running(ours(config), core, folder) as server:
            if turn:
                result.ours.append(server.start_s)
    return result.require(at_most=1.5)


def read_prompts(path: Path) -> dict[str, list[str]]:
    """Prompts by kind, in the file's order."""
    by_kind: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_kind.setdefault(row["kind"], []).append(row["prompt"])
    return by_kind


def table(results: list[Result]) -> str:
    """The results as a Markdown table; several turns as their median."""
    lines = ["| what | ours | echo | ratio | target | met |", "| --- | ---: | ---: | ---: | --- | --- |"]
    for result in results:
        digits = ",.0f" if result.unit.endswith("/s") or result.unit == "MB" else ".3f"
        echo = format(statistics.median(result.echo), digits) if result.echo else ""
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        met = {None: "", True: "yes", False: "NO"}[result.met]
        mine = format(statistics.median(result.ours), digits)
        lines.append(f"| {result.name} | {mine} {result.unit} | {echo} | {ratio} | {result.target} | {met} |")
    return "\n".join(lines)


def turns(results: list[Result]) -> str:
    """Each figure's turns in their order: echo, ours, echo, ours."""
    lines = []
    for result in results:
        if result.echo:
            pairs = ", ".join(f"{b:.4g} / {a:.4g}" for a, b in zip(result.ours, result.echo, strict=True))
            lines.append(f"{result.name} [{result.unit}], echo / ours by turn: {pairs}")
    return "\n".join(lines)


def main() -> int:
    """Measure everything and print it. Returns 1 with --check when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__)
    parser.add_argument(
        "--config",
        type=Path,
        default=UNCACHED,
        help="configuration for `serve` (default: the shipped router without the score cache)",
    )
    parser.add_argument("--pairs", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a throughput turn (default 3)")
    parser.add_argument(
        "--self-test", action="store_true", help="measure echo against echo: every ratio must be near 1"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    missing = [tool for tool in ("h2load", "taskset") if shutil.which(tool) is None]
    cores = sorted(os.sched_getaffinity(0))
    if missing or len(cores) < 2:
        lack = ", ".join(missing) or "a second core"
        print(f"needs {lack} (Debian: nghttp2-client, util-linux)", file=sys.stderr)
        return 2

    results = measure(options, server_core=cores[0], load_core=cores[1])
    print(json.dumps(describe(), indent=2), table(results), turns(results), sep="\n\n")
    output = FOLDER / "out" / time.strftime("decision-%Y%m%dT%H%M%SZ.json", time.gmtime())
    output.parent.mkdir(exist_ok=True)
    rows = [{**asdict(result), "ratio": result.ratio} for result in results]
    output.write_text(json.dumps({"machine": describe(), "results": rows}, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {output}")
    return int(options.check and any(result.met is False for result in results))


def measure(options: argparse.Namespace, server_core: int, load_core: int) -> list[Result]:
    """Every result, in the order of the report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours_command = ECHO if options.self_test else ours(options.config)
        results = [] if options.self_test else [start_time(options.config, server_core, folder)]
        echo_folder = folder / "echo"
        echo_folder.mkdir()
        with (
            running(ECHO, server_core, echo_folder) as echo,
            running(ours_command, server_core, folder) as mine,
        ):
            sides = {"echo": echo, "ours": mine}
            prompts = read_prompts(FOLDER / "prompts.jsonl")
            bench = Bench(sides, load_core, folder, options.pairs, options.seconds, prompts)
            idle = Result("resident memory before load", "MB", ours=[mine.resident_mb()])
            results += [unary_throughput(bench), *unary_latency(bench), batch_throughput(bench)]
            results += megabyte_latency(bench)
            results += [
                idle,
                Result("resident memory after load", "MB", ours=[mine.resident_mb()]).require(at_most=200),
            ]
    return results


if __name__ == "__main__":
    raise SystemExit(main())
