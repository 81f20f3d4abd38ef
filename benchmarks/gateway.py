"""`routing-gateway` beside RouteLLM's `openai_server`, in front of an instant upstream.

    python -m benchmarks.gateway --routellm-python PYTHON

PYTHON has `routellm==0.2.0` and its server's packages; without it, only ours is measured. Ours asks the real decision
service's `static` router, with the score cache off; theirs draws a random number in its own process. Both
gateways run all the time, each as one process on one core, and take turns (A B A B). The load, the upstream and the
decision service share another core. Ratios and differences are medians over the pairs of turns. Writes
`benchmarks/out/gateway-TIME.json`.
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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.gateway_load import ChatTarget, first_byte_ms, latency_ms, throughput
from benchmarks.machine import describe
from benchmarks.servers import Server, ours, running

FOLDER = Path(__file__).resolve().parent
IN_FLIGHT = 32
PROMPT = "Prove that there are infinitely many primes, and say which of Euclid's books has it."
WORKER = FOLDER / "routellm_gateway_worker.py"


@dataclass
class Figure:
    """One figure, a value for each turn and side."""

    name: str
    unit: str
    turns: dict[str, list[float]] = field(default_factory=dict)

    def median(self, side: str) -> float:
        """The median over the turns of one side."""
        return statistics.median(self.turns[side])

    def paired(self, side: str, other: str, combine: Callable[[float, float], float]) -> float:
        """The median of a combination of both sides' values, turn by turn."""
        pairs = zip(self.turns[side], self.turns[other], strict=True)
        return statistics.median(combine(mine, theirs) for mine, theirs in pairs)


@dataclass(frozen=True)
class Target:
    """A figure compared with its bound."""

    name: str
    value: float
    unit: str
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the figure meets the bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.name}: {self.value:.2f} {self.unit} ({sign} {self.bound:g}: {'yes' if self.met else 'NO'})"


def in_turns(
    figure: Figure, sides: dict[str, ChatTarget], pairs: int, measure: Callable[[ChatTarget], float]
) -> Figure:
    """A B A B: measure all sides alternately. The first turn of each does not count."""
    for turn in range(-1, pairs):
        for name, endpoint in sides.items():
            value = measure(endpoint)
            if turn >= 0:
                figure.turns.setdefault(name, []).append(value)
    return figure


def targets(figures: Sequence[Figure]) -> list[Target]:
    """The targets that were measured."""
    rate, latency, first = figures
    made = []
    if "routellm" in rate.turns:
        ratio = rate.paired("ours", "routellm", lambda mine, theirs: mine / theirs)
        made.append(Target(f"requests/s at {IN_FLIGHT} in flight, ours / RouteLLM's", ratio, "times", 3, at_least=True))
    added = latency.paired("ours", "direct", lambda mine, direct: mine - direct)
    made.append(Target("added at p50, 1 in flight", added, "ms", 5, at_least=False))
    later = first.paired("ours", "direct", lambda mine, direct: mine - direct)
    made.append(Target("first streamed byte, after the upstream's, added", later, "ms", 2, at_least=False))
    return made


def table(figures: Sequence[Figure]) -> str:
    """The medians as a Markdown table."""
    sides = ["direct", "ours", "routellm"]
    lines = [f"| what | {' | '.join(sides)} |", "| --- | ---: | ---: | ---: |"]
    for figure in figures:
        cells = [
            format(figure.median(side), ",.0f" if figure.unit.endswith("/s") else ".3f") if side in figure.turns else ""
            for side in sides
        ]
        lines.append(f"| {figure.name}, {figure.unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def turns(figures: Sequence[Figure]) -> str:
    """Every turn, in the order of measurement."""
    lines = []
    for figure in figures:
        values = [f"{side} {', '.join(f'{value:.4g}' for value in each)}" for side, each in figure.turns.items()]
        lines.append(f"{figure.name} [{figure.unit}], by turn: {'; '.join(values)}")
    return "\n".join(lines)


def measure(options: argparse.Namespace, server_core: int, load_core: int) -> list[Figure]:
    """Every figure, in the order of the report."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(arguments: Sequence[str], core: int, python: str = sys.executable) -> Server:
            return stack.enter_context(running(arguments, core, folder, python=python))

        upstream = start(["-m", "benchmarks.gateway_upstream"], load_core)
        base_url = f"http://{upstream.address}/v1"
        service = start(ours(FOLDER / "uncached.yaml"), load_core)
        gateway = start(
            ["-m", "routing_gateway.cli.gateway", "--port", "0", "--service", service.address, "--base-url", base_url,
             "--strong-model", "strong", "--weak-model", "weak"], server_core,
        )  # fmt: skip
        sides = {"ours": ChatTarget(gateway.address, "router-static-0.5", PROMPT)}
        if options.routellm_python is not None:
            peer = start([str(WORKER), "--upstream", base_url], server_core, str(options.routellm_python))
            sides["routellm"] = ChatTarget(peer.address, "router-random-0.5", PROMPT)
        all_sides = {"direct": ChatTarget(upstream.address, "strong", PROMPT), **sides}
        for endpoint in all_sides.values():
            endpoint.check()
        body = folder / "body.json"
        return [
            in_turns(
                Figure(f"requests/s, {IN_FLIGHT} in flight", "requests/s"),
                sides,
                options.pairs,
                lambda endpoint: throughput(endpoint, body, load_core, IN_FLIGHT, options.seconds),
            ),
            in_turns(
                Figure("p50, 1 in flight", "ms"),
                all_sides,
                options.pairs,
                lambda endpoint: latency_ms(endpoint, body, load_core, options.requests),
            ),
            in_turns(
                Figure("first streamed byte after the upstream's, p50", "ms"),
                all_sides,
                options.pairs,
                lambda endpoint: first_byte_ms(endpoint, load_core, options.streams),
            ),
        ]


def main() -> int:
    """Measure everything and print it. Returns 1 with --check when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--routellm-python", type=Path, metavar="PYTHON", help="a Python that has RouteLLM's server")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a throughput turn (default 3)")
    parser.add_argument("--requests", type=int, default=500, help="requests of a latency turn (default 500)")
    parser.add_argument("--streams", type=int, default=100, help="streams of a first-byte turn (default 100)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    missing = [tool for tool in ("h2load", "taskset") if shutil.which(tool) is None]
    cores = sorted(os.sched_getaffinity(0))
    if missing or len(cores) < 2:
        lack = ", ".join(missing) or "a second core"
        print(f"needs {lack} (Debian: nghttp2-client, util-linux)", file=sys.stderr)
        return 2
    figures = measure(options, server_core=cores[0], load_core=cores[1])
    held = targets(figures)
    machine = describe() | {name: version(name) for name in ("aiohttp", "starlette", "uvicorn")}
    print(json.dumps(machine, indent=2), table(figures), turns(figures), "\n".join(map(str, held)), sep="\n\n")
    output = FOLDER / "out" / time.strftime("gateway-%Y%m%dT%H%M%SZ.json", time.gmtime())
    output.parent.mkdir(exist_ok=True)
    report = {
        "machine": machine,
        "figures": [{"name": each.name, "unit": each.unit, "turns": each.turns} for each in figures],
        "targets": [{"name": each.name, "value": each.value, "unit": each.unit, "met": each.met} for each in held],
    }
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {output}")
    return int(options.check and not all(each.met for each in held))


if __name__ == "__main__":
    raise SystemExit(main())
