"""`make demo`: start the service, route a dozen prompts through the Python client, print what was decided, stop it.

Nothing here needs a network, a key or a model hub: the router ships in the repository and runs on the CPU.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from routing_client import RoutingClient, RoutingError

PROMPTS = (
    "Hi there!",
    "What is the capital of France?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Romeo and Juliet?",
    "Give me three synonyms for happy.",
    "Write a short birthday wish for my sister.",
    "A shop sells pens at 3 for $2. If I buy 18 pens and pay with a $20 note, how much change do I get?",
    "Explain how a B-tree keeps its height logarithmic when keys are deleted.",
    "Implement a lock-free queue in C++ and argue why it is free of the ABA problem.",
    "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "Let G be a group of order 105. Show that G has a normal subgroup of order 35, and classify all such G.",
    "A box holds 5 red and 7 blue balls. Two are drawn without replacement, then one is put back and a third is drawn. "
    "What is the probability that all three are red?",
)
SHARES = (0.2, 0.5, 0.8)
CALLS = 25  # a prompt, so that the times shown are medians
# Each of them is to be scored, or the times would be those of the cache of recent scores.
CONFIG = "cache: {max_entries: 0}\n"
START_SECONDS = 30.0


@contextmanager
def service() -> Iterator[str]:
    """Run `routing-service serve` on a free port of the loopback; gives its address."""
    with tempfile.TemporaryDirectory() as folder:
        ready, log, config = Path(folder, "ready"), Path(folder, "log"), Path(folder, "routing.yaml")
        config.write_text(CONFIG)
        command = [
            sys.executable,
            "-m",
            "routing_service",
            "serve",
            "--address",
            "127.0.0.1:0",
            "--config",
            str(config),
        ]
        with log.open("wb") as errors:
            process = subprocess.Popen([*command, "--ready-file", str(ready)], stderr=errors)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the service did not start:\n{log.read_text()}")
                time.sleep(0.01)
            yield ready.read_text().strip()
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def show_decisions(client: RoutingClient) -> None:
    """Print a line a prompt: what was decided, and the median of the microseconds that its stages took."""
    print(f"{'win rate':>8}  {'model':<26}  {'tokenize':>8} {'infer':>6} {'total':>6}  prompt")
    for prompt in PROMPTS:
        decisions = [client.decide(prompt) for _ in range(CALLS)]
        timings = [decision.timing for decision in decisions if decision.timing is not None]
        tokenize, inference, total = (
            median(getattr(timing, stage) for timing in timings)
            for stage in ("tokenize_us", "inference_us", "total_us")
        )
        decision = decisions[0]
        times = f"{tokenize:>5.0f} µs {inference:>3.0f} µs {total:>3.0f} µs"
        shown = prompt if len(prompt) <= 60 else prompt[:59] + "…"
        print(f"{decision.strong_win_rate:>8.3f}  {decision.model:<26}  {times}  {shown}")
    print(f"\nStrong from a win rate of {decision.threshold:.3f} on: half of the calibration sample. Other shares:")


def show_thresholds(client: RoutingClient) -> None:
    """Print the threshold for each wanted share of strong calls, and what it does to the prompts above."""
    for point in client.calibrate(strong_shares=SHARES).points:
        decisions = client.decide_batch(PROMPTS, threshold=point.threshold)
        strong = sum(not isinstance(d, RoutingError) and d.is_strong for d in decisions)
        print(
            f"  {point.strong_share:>4.0%} strong calls: threshold {point.threshold:.5f} "
            f"({strong} of these {len(PROMPTS)} prompts)"
        )


def main() -> None:
    """Run the demonstration."""
    started = time.monotonic()
    with service() as address, RoutingClient(address) as client:
        static = next(router for router in client.routers() if router.is_default)
        print(f"Service at {address} was ready after {time.monotonic() - started:.1f} s.")
        print(f"Router {static.name!r}, revision {static.revision}: {static.models.strong} or {static.models.weak}?\n")
        show_decisions(client)
        show_thresholds(client)
    print("\nThe service has stopped. Next: README.md, or `.venv/bin/routing-service --help`.")


if __name__ == "__main__":
    main()
