"""What each command does with its parsed options.

Heavy imports are inside the commands, so that `--help` is quick and `serve` loads only what serving needs.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from routing_service.config import Config, load_config
from routing_service.errors import UsageError
from routing_service.observability.logging import configure_logging

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from routing_service.engine.engine import Engine


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

    _print(probe(options.address, options.timeout))


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
        _print(_json(asdict(decision)))
    else:
        rate = "none" if decision.strong_win_rate is None else f"{decision.strong_win_rate:.5f}"
        threshold = "none" if decision.threshold is None else f"{decision.threshold:.5f}"
        _print(f"{decision.model}  ({decision.tier}, strong win rate {rate}, threshold {threshold}, {decision.router})")


def score(options: argparse.Namespace) -> None:
    """Add `strong_win_rate` to each row of a JSON lines file."""
    from routing_service.calibration.prompts import PROMPT_KEY, read_rows
    from routing_service.engine.offline import score_prompts
    from routing_service.files import writing

    engine = _engine(options)
    rows = [row for _, row in read_rows(options.input)]
    rates = score_prompts(engine, _router_name(engine, options.router), (row[PROMPT_KEY] for row in rows))
    with writing(options.output) as file:
        for row, rate in zip(rows, _progress(rates, len(rows)), strict=True):
            file.write(_json({**row, "strong_win_rate": rate}) + "\n")
    print(f"{len(rows)} rows written to {options.output}", file=sys.stderr)


def calibrate(options: argparse.Namespace) -> None:
    """Print the thresholds for wanted shares of strong decisions."""
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
        _print(_json({"router": name, "router_revision": engine.routers[name].revision, **source, "points": points}))
        return
    for point in points:
        share = point["strong_share"]
        percent = round(share * 100, 10)  # 0.07 * 100 is not quite 7
        _print(f"For {percent}% strong model calls for {name}, threshold = {round(point['threshold'], 5)}")
        if abs(point.get("realised_share", share) - share) > 0.005:
            print(f"note: the closest that this sample allows is {point['realised_share']:.1%}", file=sys.stderr)


def _scores_of(engine: Engine, router: str, path: Path) -> list[float]:
    from routing_service.calibration.prompts import read_prompts
    from routing_service.engine.offline import score_prompts

    scores = list(_progress(score_prompts(engine, router, read_prompts(path)), None))
    if not scores:
        raise UsageError(f"{path}: has no prompts; calibrating needs at least one")
    return scores


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
    _print(str(report))


def check_config(options: argparse.Namespace) -> None:
    """Load a configuration and every artifact that it names, and list what there is."""
    from routing_service.engine.build import build_engine

    config = load_config(options.file)
    engine = build_engine(config)
    for name, router in sorted(engine.routers.items()):
        default = ", default" if name == config.default_router else ""
        pair = f"{router.models.strong} / {router.models.weak}"
        _print(f"router {name}: {router.type}, revision {router.revision}, {pair}{default}")
    for name, policy in sorted(engine.planner.policies.items()):
        _print(f"policy {name}: router {policy.router}, threshold {policy.threshold:.5f}")
    _print(f"{options.file} is valid")


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


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()  # JSON can spell half a surrogate pair, UTF-8 cannot


def _print(text: str) -> None:
    """Print at once: what fails at exit is a traceback."""
    try:
        print(text, flush=True)
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # or Python tries again at exit
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"standard output cannot be written: {error.strerror}") from error
