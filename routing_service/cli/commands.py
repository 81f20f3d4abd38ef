"""What each command does with its parsed options.

Heavy imports are inside the commands, so that `--help` is quick and `serve` loads only what serving needs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from routing_service.cli.shared import emit, load_engine, progress, router_name, to_json
from routing_service.config import Config, load_config
from routing_service.errors import UsageError
from routing_service.observability.logging import configure_logging

if TYPE_CHECKING:
    import argparse


def serve(options: argparse.Namespace) -> None:
    """Serve decisions over gRPC until SIGTERM."""
    import uvloop

    from routing_service.server import app
    from routing_service.server.environment import check_onnxruntime, favour_throughput
    from routing_service.server.workers import serve_with_workers

    config = _with_server_options(load_config(options.config), options)
    configure_logging(config.observability)
    check_onnxruntime()
    if config.server.workers > 1:
        serve_with_workers(config, options.config, options.ready_file)
    else:
        favour_throughput(config.server)
        uvloop.run(app.serve(config, options.ready_file, reuse_port=options.reuse_port))


def _with_server_options(config: Config, options: argparse.Namespace) -> Config:
    names = ("address", "workers", "metrics_address")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        return replace(config, server=replace(config.server, **given))
    except ValueError as error:
        raise UsageError(str(error)) from error


def health(options: argparse.Namespace) -> None:
    """Ask a service whether it is SERVING."""
    from routing_service.server.probe import probe

    emit(probe(options.address, options.timeout))


def decide(options: argparse.Namespace) -> None:
    """Ask a running service about one prompt."""
    from dataclasses import asdict

    from routing_client import RoutingClient, RoutingError

    try:
        with RoutingClient(options.address) as client:
            decision = client.decide(
                options.prompt, router=options.router, threshold=options.threshold, strong_share=options.strong_share
            )
    except RoutingError as error:
        raise UsageError(f"{error} (service at {options.address})") from error
    if options.json:
        emit(to_json(asdict(decision)))
    else:
        rate = "none" if decision.strong_win_rate is None else f"{decision.strong_win_rate:.5f}"
        threshold = "none" if decision.threshold is None else f"{decision.threshold:.5f}"
        emit(f"{decision.model}  ({decision.tier}, strong win rate {rate}, threshold {threshold}, {decision.router})")


def score(options: argparse.Namespace) -> None:
    """Add `strong_win_rate` to each row of a JSON lines file."""
    from routing_service.calibration.prompts import PROMPT_KEY, read_rows
    from routing_service.engine.offline import score_prompts
    from routing_service.files import writing

    engine = load_engine(options)
    rows = [row for _, row in read_rows(options.input)]
    rates = score_prompts(engine, router_name(engine, options.router), (row[PROMPT_KEY] for row in rows))
    with writing(options.output) as file:
        for row, rate in zip(rows, progress(rates, len(rows)), strict=True):
            file.write(to_json({**row, "strong_win_rate": rate}) + "\n")
    print(f"{len(rows)} rows written to {options.output}", file=sys.stderr)


def check_config(options: argparse.Namespace) -> None:
    """Load a configuration and every artifact that it names, and list what there is."""
    from routing_service.engine.build import build_engine

    config = load_config(options.file)
    engine = build_engine(config)
    for name, router in sorted(engine.routers.items()):
        default = ", default" if name == config.default_router else ""
        pair = f"{router.models.strong} / {router.models.weak}"
        emit(f"router {name}: {router.type}, revision {router.revision}, {pair}{default}")
    for name, policy in sorted(engine.planner.policies.items()):
        emit(f"policy {name}: router {policy.router}, threshold {policy.threshold:.5f}")
    emit(f"{options.file} is valid")
