"""`routing-service serve`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from routing_service.cli.options import add_config_option, address
from routing_service.config import DEFAULT_ADDRESS, Config, load_config
from routing_service.errors import UsageError
from routing_service.observability.logging import configure_logging

name = "serve"
summary = "Serve decisions over gRPC until SIGTERM."
example = "routing-service serve --config routing.yaml --address 0.0.0.0:50051 --workers 4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config_option(parser)
    parser.add_argument(
        "--address", type=address, metavar="HOST:PORT", help=f"where to listen (default {DEFAULT_ADDRESS})"
    )
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes that share the port (default 1)")
    parser.add_argument("--metrics-address", type=address, metavar="HOST:PORT", help="serve Prometheus metrics there")
    parser.add_argument(
        "--ready-file", type=Path, metavar="F", help="file that gets the bound address once the service is SERVING"
    )
    parser.add_argument("--reuse-port", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Serve decisions until SIGTERM."""
    import uvloop

    from routing_service.server import app
    from routing_service.server.environment import check_onnxruntime, favour_throughput
    from routing_service.server.workers import serve_with_workers

    config = _with_options(load_config(options.config), options)
    configure_logging(config.observability)
    check_onnxruntime()
    if config.server.workers > 1:
        serve_with_workers(config, options.config, options.ready_file)
    else:
        favour_throughput(config.server)
        uvloop.run(app.serve(config, options.ready_file, reuse_port=options.reuse_port))


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
