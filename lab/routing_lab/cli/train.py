"""`routing-service train`."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from routing_lab.options import add_options, from_options
from routing_lab.training.finetune.request import BertRequest, CausalLLMRequest
from routing_lab.training.mf.request import MatrixFactorizationRequest
from routing_lab.training.request import TrainingRequest
from routing_lab.training.static.request import StaticRequest
from routing_service.cli.options import emit, to_json
from routing_service.extras import require

name = "train"
summary = "Train a router from preference data."

REQUESTS: tuple[type[TrainingRequest], ...] = (
    StaticRequest,
    MatrixFactorizationRequest,
    BertRequest,
    CausalLLMRequest,
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add a command for each router type."""
    types = parser.add_subparsers(title="router types", required=True, metavar="TYPE")
    for kind in REQUESTS:
        added = types.add_parser(
            kind.router_type, help=kind.summary, description=kind.summary, epilog=f"Example: {kind.example}"
        )
        added.set_defaults(request=kind)
        add_options(added, kind)
        added.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> None:
    """Train a router of the type that was asked for, and print the report, for people or as JSON."""
    kind: type[TrainingRequest] = options.request
    require(f"training {kind.router_type}", "routing-lab", kind.extra, *kind.packages)
    request = from_options(kind, options)
    # Only the trainer that was asked for is imported: some bring torch.
    trainer = import_module(kind.trainer)
    with stopping_on_sigterm():
        report = trainer.train(request)
    emit(to_json(report.as_dict()) if options.json else str(report))


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """A SIGTERM, as batch systems and containers send it, is an interruption as from the keyboard: it is cleaned up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
