"""`make demo`: start the service, route a dozen prompts through the Python client, print the decisions, stop it.

It needs no network, no key and no model hub: the router is in the repository and runs on the CPU.
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

EASY = (
    "Hi there!",
    "What is the capital of France?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Romeo and Juliet?",
    "Give me three synonyms for happy.",
    "Write a short birthday wish for my sister.",
)
HARD = (
    "A shop sells pens at 3 for $2. If I buy 18 pens and pay with a $20 note, how much change do I get?",
    "Explain how a B-tree keeps its height logarithmic when keys are deleted.",
    "Implement a lock-free queue in C++ and argue why it is free of the ABA problem.",
    "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "Let G be a group of order 105. Show that G has a normal subgroup of order 35, and classify all such G.",
    "A box holds 5 red and 7 blue balls. Two are drawn without replacement, then one is put back and a third is drawn. "
    "What is the probability that all three are red?",
)
PROMPTS = EASY + HARD
# US dollars per million output tokens, as listed when the router was trained: GPT-4 Turbo and Mixtral 8x7B.
PRICES = {"strong": 30.0, "weak": 0.6}
SHARES = (0.2, 0.5, 0.8)
CALLS = 25  # a prompt, so that the times shown are medians
# Each prompt must be scored; the score cache would show shorter times.
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
    """Print a line for each prompt: the decision, and the median microseconds of its stages."""
    threshold = None
    for title, prompts in (("Easy prompts", EASY), ("Hard prompts", HARD)):
        print(f"{title:<62}  win rate  choice  {'tokenize':>8} {'infer':>6} {'total':>6}")
        for prompt in prompts:
            decisions = [client.decide(prompt) for _ in range(CALLS)]
            timings = [decision.timing for decision in decisions if decision.timing is not None]
            tokenize, inference, total = (
                median(getattr(timing, stage) for timing in timings)
                for stage in ("tokenize_us", "inference_us", "total_us")
            )
            decision = decisions[0]
            threshold = decision.threshold
            shown = prompt if len(prompt) <= 60 else prompt[:59] + "…"
            times = f"{tokenize:>5.0f} µs {inference:>3.0f} µs {total:>3.0f} µs"
            print(f"  {shown:<60}  {decision.strong_win_rate:>8.3f}  {decision.tier:<6}  {times}")
        print()
    print(f"Strong when the win rate is at least {threshold:.3f}; half of the calibration sample reaches it.")


def show_savings(client: RoutingClient) -> None:
    """Print, for each wanted share of strong calls, its threshold and the cost of these prompts."""
    print("Other shares, and what they save if every answer is as long as any other:")
    for point in client.calibrate(strong_shares=SHARES).points:
        decisions = client.decide_batch(PROMPTS, threshold=point.threshold)
        strong = sum(not isinstance(d, RoutingError) and d.is_strong for d in decisions)
        cost = strong * PRICES["strong"] + (len(PROMPTS) - strong) * PRICES["weak"]
        saved = 1 - cost / (len(PROMPTS) * PRICES["strong"])
        print(
            f"  {point.strong_share:>4.0%} strong calls: threshold {point.threshold:.5f}; "
            f"{strong} of these {len(PROMPTS)} prompts go to the strong model, {saved:.0%} saved"
        )


def main() -> None:
    """Run the demonstration."""
    started = time.monotonic()
    with service() as address, RoutingClient(address) as client:
        static = next(router for router in client.routers() if router.is_default)
        print(f"Service at {address} was ready after {time.monotonic() - started:.1f} s.")
        print(f"Router {static.name!r}, revision {static.revision}.")
        print(f"Strong: {static.models.strong}. Weak: {static.models.weak}.\n")
        show_decisions(client)
        show_savings(client)
    print("\nThe service has stopped. Next: README.md, or `.venv/bin/routing-service --help`.")


if __name__ == "__main__":
    main()
