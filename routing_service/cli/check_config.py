"""`routing-service check-config`."""

from __future__ import annotations

import argparse
from pathlib import Path

from routing_service.cli.options import emit
from routing_service.config import load_config

name = "check-config"
summary = "Check a configuration and every artifact that it names."
example = "routing-service check-config routing.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="F", help="the YAML file")


def run(options: argparse.Namespace) -> None:
    """Load a configuration and every artifact that it names, and list routers, policies and rules."""
    from routing_service.engine.build import build_engine

    config = load_config(options.file)
    engine = build_engine(config)
    for name, router in sorted(engine.routers.items()):
        default = ", default" if name == config.default_router else ""
        pair = f"{router.models.strong} / {router.models.weak}"
        emit(f"router {name}: {router.type}, revision {router.revision}, {pair}{default}")
    for name, policy in sorted(engine.planner.policies.items()):
        emit(f"policy {name}: router {policy.router}, threshold {policy.threshold:.5f}")
    for place, rule in enumerate(config.asks.rules):
        emit(f"rule {config.asks.rule_name(place)}: {rule.tier or rule.model or f'router {rule.router}'}")
    emit(f"{options.file} is valid")
