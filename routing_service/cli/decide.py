"""`routing-service decide`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from routing_service.cli.options import add_address_option, add_router_option, asking, emit, share, to_json

if TYPE_CHECKING:
    from routing_client import Decision, RouterList

name = "decide"
summary = "Ask a running service about one prompt."
example = 'routing-service decide "Prove that √2 is irrational" --strong-share 0.2'


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("prompt", metavar="PROMPT", help="the text to route")
    add_address_option(parser)
    add_router_option(parser, "the service's")
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument(
        "--threshold", type=share, metavar="T", help="strong when the win rate is at least this, 0 to 1"
    )
    policy.add_argument("--strong-share", type=share, metavar="S", help="wanted share of strong decisions, 0 to 1")
    parser.add_argument("--explain", action="store_true", help="also print the text that was read of the prompt")
    parser.add_argument("--json", action="store_true", help="print the whole decision as JSON")


def run(options: argparse.Namespace) -> None:
    """Ask, and print the decision."""
    from routing_client import RoutingClient

    with asking(options.address), RoutingClient(options.address) as client:
        decision = client.decide(
            options.prompt,
            router=options.router,
            threshold=options.threshold,
            strong_share=options.strong_share,
            explain=options.explain,
        )
        if options.threshold is not None:
            _warn_of_extreme(options.threshold, decision.router, client.routers())
    if options.json:
        read = {"read": _read(options.prompt, decision)} if options.explain else {}
        emit(to_json({**asdict(decision), **read}))
    else:
        rate = "none" if decision.strong_win_rate is None else f"{decision.strong_win_rate:.5f}"
        threshold = "none" if decision.threshold is None else f"{decision.threshold:.5f}"
        rule = f", rule {decision.rule}" if decision.rule else ""
        score = f"strong win rate {rate}, threshold {threshold}"
        abstained = f", abstained: signal {decision.signal:.2f}" if decision.reason == "abstained" else ""
        emit(f"{decision.model}  ({decision.tier}, {score}, {decision.router}{rule}{abstained})")
        if options.explain:
            _explain(options.prompt, decision)


def _explain(prompt: str, decision: Decision) -> None:
    """Print which bytes were read, and the text."""
    if decision.explanation is None:
        emit("the service does not say what it read")
        return
    spans = ", ".join(f"{span.begin} to {span.end}" for span in decision.explanation.spans)
    emit(
        f"read: bytes {spans} of {len(_utf8(prompt))}{', of which the router took the beginning' * decision.truncated}"
    )
    emit("\n".join(f"  {line}" for line in _read(prompt, decision).splitlines()))
    if decision.explanation.topic:
        emit(f"topic: {decision.explanation.topic}")


def _read(prompt: str, decision: Decision) -> str:
    """The text that was read of a prompt."""
    spans, encoded = decision.explanation.spans if decision.explanation else (), _utf8(prompt)
    return b"".join(encoded[span.begin : span.end] for span in spans).decode("utf-8", "replace")


def _utf8(prompt: str) -> bytes:
    """As the client sends it."""
    return prompt.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _warn_of_extreme(threshold: float, name: str, served: RouterList) -> None:
    """Warn on stderr if a threshold makes the same choice for nearly every prompt: scores are often close together."""
    table = next((router.calibration for router in served if router.name == name), None)
    if table is None or threshold in (0.0, 1.0):
        return
    lowest, highest = table.threshold_for(0.99), table.threshold_for(0.01)
    if not lowest <= threshold <= highest:
        model = "strong" if threshold < lowest else "weak"
        print(
            f"routing-service: warning: threshold {threshold:g} sends more than 99 % of prompts to the {model} model: "
            f"{name}'s win rates lie mostly between {lowest:.3f} and {highest:.3f}; try --strong-share 0.5",
            file=sys.stderr,
        )
