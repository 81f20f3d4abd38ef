"""`routing-service decide`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from routing_service.cli.options import add_address_option, add_router_option, asking, emit, share, to_json

if TYPE_CHECKING:
    from routing_client import RouterList

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
    parser.add_argument("--json", action="store_true", help="print the whole decision as JSON")


def run(options: argparse.Namespace) -> None:
    """Ask, and print the decision."""
    from routing_client import RoutingClient

    with asking(options.address), RoutingClient(options.address) as client:
        decision = client.decide(
            options.prompt, router=options.router, threshold=options.threshold, strong_share=options.strong_share
        )
        if options.threshold is not None:
            _warn_of_extreme(options.threshold, decision.router, client.routers())
    if options.json:
        emit(to_json(asdict(decision)))
    else:
        rate = "none" if decision.strong_win_rate is None else f"{decision.strong_win_rate:.5f}"
        threshold = "none" if decision.threshold is None else f"{decision.threshold:.5f}"
        emit(f"{decision.model}  ({decision.tier}, strong win rate {rate}, threshold {threshold}, {decision.router})")


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
