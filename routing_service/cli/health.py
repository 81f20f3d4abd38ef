"""`routing-service health`."""

from __future__ import annotations

import argparse

from routing_service.cli.options import add_address_option, emit

name = "health"
summary = "Exit with 0 when a service is SERVING, else with 1."
example = "routing-service health --address 127.0.0.1:50051"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_address_option(parser)
    parser.add_argument("--timeout", type=float, default=2.0, metavar="S", help="seconds to wait (default 2)")


def run(options: argparse.Namespace) -> None:
    """Ask a service whether it is SERVING."""
    from routing_service.server.probe import probe

    emit(probe(options.address, options.timeout))
