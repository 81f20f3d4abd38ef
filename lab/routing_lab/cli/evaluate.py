"""`routing-service evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from routing_lab.evals.settings import Settings
from routing_lab.options import add_options, from_options
from routing_service.cli.options import add_config_option, emit, to_json
from routing_service.config import load_config
from routing_service.extras import require

name = "evaluate"
summary = "Measure what routers save and lose on benchmarks."
example = "routing-service evaluate --routers static --benchmark mmlu gsm8k --data RouteLLM/routellm/evals --output out"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--routers",
        nargs="+",
        metavar="R",
        help="routers of the configuration, types that need no options, such as random and static, or the baselines "
        "knn and clusters (default: its default router)",
    )
    parser.add_argument(
        "--benchmark",
        nargs="+",
        required=True,
        metavar="B",
        help="mmlu, gsm8k, mt-bench, a plug-in's, or a file.jsonl of prompts with each model's score",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="RouteLLM's folder routellm/evals, for mmlu, gsm8k, mt-bench"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write JSON, CSV, and a plot as PNG and SVG there")
    add_config_option(parser)
    parser.add_argument(
        "--split",
        choices=("all", "dev", "audit"),
        default="all",
        help="of MMLU and GSM8K: dev may be trained on, audit may not (default %(default)s)",
    )
    add_options(parser, Settings)
    parser.add_argument(
        "--overwrite-cache", nargs="*", default=[], metavar="R", help="score these routers again, not from the cache"
    )
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where win rates are cached (default ~/.cache/routing-service/evaluate)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    """Evaluate routers on benchmarks, print what was found, and write it where `--output` says."""
    from routing_lab.evals import plot, report
    from routing_lab.evals.benchmarks import take_split
    from routing_lab.evals.cache import default_cache_folder
    from routing_lab.evals.evaluation import evaluate
    from routing_lab.evals.registry import load_benchmark
    from routing_lab.evals.routers import with_unconfigured
    from routing_lab.evals.summary import summaries
    from routing_lab.training.static.vectors import shipped_vectors
    from routing_service.asks.reader import AskReader
    from routing_service.files import prepare_folder, write_files

    settings = from_options(
        Settings,
        options,
        data=options.data,
        vectors=shipped_vectors,
        cache=options.cache_dir or default_cache_folder(),
        overwrite=frozenset(options.overwrite_cache),
    )
    config = load_config(options.config)
    names = list(dict.fromkeys(options.routers or [config.default_router]))
    config = with_unconfigured(config, names, settings.seed)
    if options.output is not None:
        require("--output", "routing-lab", "plots", "matplotlib")
        prepare_folder(options.output)
    asks = AskReader(config.asks)
    benchmarks = [
        take_split(load_benchmark(b, options.data, asks), options.split) for b in dict.fromkeys(options.benchmark)
    ]
    results = evaluate(config, names, benchmarks, settings)
    if options.output is not None:
        files = {**report.files(results, settings), **plot.figures(results)}
        write_files(options.output, files)
    if options.json:
        emit(to_json(report.document(results, settings)))
        return
    emit(summaries(results))
    if options.output is not None:
        emit(f"\nwritten to {options.output}: {', '.join(sorted(files))}")
