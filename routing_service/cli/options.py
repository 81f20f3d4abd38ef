"""Shared by the commands: common options, loading an engine, printing."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routing_client.targets import read_address, read_target

from routing_service.config import DEFAULT_ADDRESS, load_config, split_address
from routing_service.errors import UsageError
from routing_service.files import STDIO

if TYPE_CHECKING:
    from routing_service.engine.engine import Engine


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument("--config", type=Path, metavar="F", help="the YAML configuration (default: the shipped router)")


def add_router_option(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--router`, with a default. `--routers`, RouteLLM's name, is the same."""
    parser.add_argument("--router", "--routers", dest="router", metavar="R", help=f"the router (default: {default})")


def add_address_option(parser: argparse.ArgumentParser) -> None:
    """Add `--address` of a running service."""
    parser.add_argument(
        "--address",
        type=target,
        default=DEFAULT_ADDRESS,
        metavar="A",
        help=f"the service, HOST:PORT or unix:PATH (default {DEFAULT_ADDRESS})",
    )


def address(text: str) -> str:
    """An argument of the form HOST:PORT or unix:PATH, where to listen."""
    return _checked(read_address, text)


def port_address(text: str) -> str:
    """An argument of the form HOST:PORT, where to listen."""
    return _checked(split_address, text)


def target(text: str) -> str:
    """An argument that says where a service is."""
    return _checked(read_target, text)


def _checked(read: Callable[[str], object], text: str) -> str:
    try:
        read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


@contextmanager
def asking(address: str) -> Iterator[None]:
    """While calls to a service are made: what goes wrong with them is a UsageError, which says why as `health` does."""
    from routing_client import RoutingError, UnavailableError
    from routing_client.proxies import ProxyError

    try:
        yield
    except UnavailableError as error:
        from routing_service.server.probe import probe

        probe(address, timeout=2.0)  # which raises if the service does not answer
        raise UsageError(f"{error} (service at {address})") from error
    except (RoutingError, ProxyError) as error:
        raise UsageError(f"{error} (service at {address})") from error


def share(text: str) -> float:
    """An argument that is a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def load_engine(options: argparse.Namespace) -> Engine:
    """The engine of `--config`, with all its routers."""
    from routing_service.engine.build import build_engine

    return build_engine(load_config(options.config))


def router_name(engine: Engine, name: str | None) -> str:
    """The router of an option, or the default one."""
    from routing_service.errors import unknown_name

    name = name or engine.planner.default_router
    if name not in engine.routers:
        raise UsageError(unknown_name("router", name, engine.routers))
    return name


def progress(items: Any, total: int | None) -> Any:
    """`items`, with a progress bar on a terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit=" prompts", disable=None)  # None: only on a terminal


def is_same_file(output: Path, source: Path) -> bool:
    """Whether writing to `output` would change the file `source`, also through links or redirection."""
    try:
        one = os.fstat(1) if output == STDIO else output.stat()
        other = os.fstat(0) if source == STDIO else source.stat()
    except OSError:  # one of them is missing; its reader says so
        return False
    return stat.S_ISREG(one.st_mode) and os.path.samestat(one, other)


def to_json(value: Any) -> str:
    """One line of JSON."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text.encode("utf-8", "backslashreplace").decode()  # JSON can spell half a surrogate pair, UTF-8 cannot


def _plain(value: Any) -> Any:
    """Values that JSON does not have: an array as a list, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def emit(text: str) -> None:
    """Print and flush: a failure at exit would be a traceback."""
    try:
        print(text, flush=True)
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # or Python tries again at exit
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"standard output cannot be written: {error.strerror}") from error
