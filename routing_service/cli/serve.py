"""`routing-service serve`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from routing_service.cli.options import add_config_option, address, port_address
from routing_service.config import DEFAULT_ADDRESS, Config, load_config
from routing_service.errors import UsageError
from routing_service.observability.logging import configure_logging

if TYPE_CHECKING:
    from routing_service.server.stopping import Stopping

name = "serve"
summary = "Serve decisions over gRPC until SIGTERM."
example = "routing-service serve --config routing.yaml --address 0.0.0.0:50051 --workers 4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_option(parser)
    parser.add_argument(
        "--address",
        type=address,
        metavar="A",
        help=f"where to listen, HOST:PORT or unix:PATH (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes that share the port (default 1)")
    parser.add_argument(
        "--metrics-address", type=port_address, metavar="HOST:PORT", help="serve Prometheus metrics there"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="F", help="file that gets the bound address once the service is SERVING"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Serve decisions until SIGTERM."""
    from routing_service.server.stopping import Stopping

    with Stopping(is_worker=options.worker) as stopping:
        _run(options, stopping)


def _run(options: argparse.Namespace, stopping: Stopping) -> None:
    import uvloop

    from routing_service import cli
    from routing_service.server import app
    from routing_service.server.environment import check_onnxruntime, favour_throughput
    from routing_service.server.listening import write_atomically
    from routing_service.server.loading import LoadingAbandonedError
    from routing_service.server.stopping import end_at_once, end_without_threads
    from routing_service.server.workers import serve_with_workers
    from routing_service.tether import tether

    def ready(address: str) -> None:
        if options.ready_file is not None:
            write_atomically(options.ready_file, f"{address}\n")
        if options.worker:
            tether.tell_ready()

    config = _with_options(load_config(options.config), options)
    configure_logging(config.observability)
    check_onnxruntime()
    if config.server.workers > 1:
        serve_with_workers(config, options.config, ready, stopping)
        return
    favour_throughput(config.server)
    try:
        uvloop.run(app.serve(config, stopping, ready, is_worker=options.worker))
    except LoadingAbandonedError as error:
        # At its end, Python would wait for some threads, and code in C that still runs in others might crash.
        end_at_once(cli.complain(str(error), error.exit_code) if str(error) else error.exit_code)
    end_without_threads()


def _with_options(config: Config, options: argparse.Namespace) -> Config:
    names = ("address", "workers", "metrics_address")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        return replace(config, server=replace(config.server, **given))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of processes from 1 to 256")
    return int(text)
