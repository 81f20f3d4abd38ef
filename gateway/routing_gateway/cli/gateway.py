"""The command `routing-gateway`."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from routing_client.endpoints import EndpointsError
from routing_client.targets import Address, read_address, read_port

from routing_gateway.config import DEFAULT_PORT, MEBIBYTE
from routing_gateway.logs import Repeats

if TYPE_CHECKING:
    from routing_client.endpoints import Endpoints

    from routing_gateway.config import GatewayConfig

_OPENAI = "https://api.openai.com/v1"
_EXAMPLE = (
    "Example: routing-gateway --service 127.0.0.1:50051 --strong-model gpt-4.1 --weak-model gpt-4.1-mini, and then "
    "OpenAI(base_url='http://127.0.0.1:6060/v1') with model='router-static-50pct'"
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong first and names the help, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = _Parser(
        prog="routing-gateway",
        description="An OpenAI-compatible server that sends each chat to the strong or the weak model, as the decision "
        "service decides.",
        epilog=_EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('routing-gateway')}")
    where = parser.add_argument_group("models")
    where.add_argument("--config", type=Path, metavar="F", help="YAML with models, their servers, keys and prices")
    where.add_argument("--service", metavar="HOST:PORT", help="the decision service (default 127.0.0.1:50051)")
    where.add_argument("--strong-model", metavar="M", help="the strong model (default: the one the service names)")
    where.add_argument("--weak-model", metavar="M", help="the weak model (default: the one the service names)")
    where.add_argument(
        "--base-url", metavar="U", help=f"the server of each model that --config does not name (default {_OPENAI})"
    )
    keys = where.add_mutually_exclusive_group()
    keys.add_argument(
        "--api-key-env", metavar="NAME", help="variable with the key for --base-url (default: the caller's)"
    )
    keys.add_argument("--api-key", metavar="K", help="the key itself; other users of this machine can see it")
    where.add_argument(
        "--fallback-model",
        metavar="M",
        help="the model to use while the decision service is down (default: answer 503)",
    )
    where.add_argument(
        "--failover",
        action=argparse.BooleanOptionalAction,
        help="use the other model of the pair when the chosen one's server fails",
    )
    where.add_argument("--echo", action="store_true", help="tell the page that the models are an offline echo")
    server = parser.add_argument_group("server")
    server.add_argument(
        "--host", type=_host, default="127.0.0.1", metavar="H", help="where to listen (default %(default)s)"
    )
    server.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, metavar="P", help="0 takes a free port (default %(default)s)"
    )
    server.add_argument(
        "--ready-file", type=Path, metavar="F", help="file that gets the bound address once the gateway answers"
    )
    server.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="O",
        help="a web origin that may call the gateway; repeatable",
    )
    server.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="warning", help="default %(default)s"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--decision-timeout", type=_seconds, default=1.0, metavar="S", help="default %(default)s s")
    limits.add_argument("--connect-timeout", type=_seconds, default=10.0, metavar="S", help="default %(default)s s")
    limits.add_argument(
        "--upstream-timeout",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="longest wait between two bytes (default %(default)s s)",
    )
    limits.add_argument("--shutdown-timeout", type=_count, default=30, metavar="S", help="default %(default)s s")
    limits.add_argument(
        "--max-body-mb", type=_count, default=32, metavar="N", help="largest request body in MiB (default %(default)s)"
    )
    limits.add_argument(
        "--max-concurrent", type=_count, default=2048, metavar="N", help="requests in flight (default %(default)s)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway. Returns the exit code."""
    signal.signal(signal.SIGHUP, lambda *_: None)
    options = parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats())
    try:
        config = config_from(options)
        _serve(config, options)
    except EndpointsError as error:
        return _complain(str(error))
    except OSError as error:
        # Not the error's own words, where there are others: they name the address once more, as a tuple.
        number = error.errno or 0
        problem = os.strerror(number) if number in errno.errorcode else str(error.strerror or error)
        if error.filename is not None:
            return _complain(f"--ready-file {options.ready_file} cannot be written: {problem}")
        return _complain(f"cannot listen on {Address(options.host, options.port)}: {problem}")
    except KeyboardInterrupt:
        return 0
    return 0


def config_from(options: argparse.Namespace) -> GatewayConfig:
    """The configuration that a command line asks for.

    Raises:
        EndpointsError: It makes no sense.
    """
    from routing_gateway.config import GatewayConfig

    return GatewayConfig(
        endpoints=_endpoints(options),
        decision_timeout_s=options.decision_timeout,
        connect_timeout_s=options.connect_timeout,
        upstream_timeout_s=options.upstream_timeout,
        max_body_bytes=options.max_body_mb * MEBIBYTE,
        max_concurrent=options.max_concurrent,
        cors_origins=tuple(options.cors_origin),
        echo=options.echo,
    )


def _endpoints(options: argparse.Namespace) -> Endpoints:
    """Those of the file, with what the other options say in its place."""
    from routing_client.endpoints import Endpoint, Endpoints, load_endpoints

    found = load_endpoints(options.config) if options.config is not None else Endpoints()
    default = found.default
    if options.config is None or options.base_url is not None:
        default = Endpoint(options.base_url or _OPENAI, options.api_key_env, options.api_key)
    elif options.api_key is not None or options.api_key_env is not None:
        raise EndpointsError(
            "--api-key and --api-key-env are for --base-url; with --config, say api_key_env in the file"
        )
    given = {
        "service": options.service,
        "strong_model": options.strong_model,
        "weak_model": options.weak_model,
        "fallback_model": options.fallback_model,
        "failover": options.failover,
    }
    models = dict(found.models)
    if default is not None:
        # By name, so that /v1/models, /health and the metrics know them.
        for model in (options.strong_model, options.weak_model, options.fallback_model):
            if model is not None:
                models.setdefault(model, default)
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(found, models=models, default=default, **changes)


def _serve(config: GatewayConfig, options: argparse.Namespace) -> None:
    from routing_gateway.server import serve

    # uvicorn raises the signal that stopped it anew, which by default would end the process as if it had failed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)

    def ready(address: str) -> None:
        print(f"routing-gateway: http://{address}/v1", file=sys.stderr, flush=True)

    serve(
        config,
        options.host,
        options.port,
        ready_file=options.ready_file,
        on_ready=ready,
        shutdown_timeout_s=options.shutdown_timeout,
    )


def _stop(number: int, _frame: object) -> None:
    signal.signal(number, lambda *_: os._exit(128 + number))  # the end may take long: another one cuts it short
    sys.exit(0)


def _port(text: str) -> int:
    try:
        return read_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _host(text: str) -> str:
    """A name or an IP address, an IPv6 one with brackets or without."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return read_address(str(Address(bare, DEFAULT_PORT))).host
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a host; write a name or an IP address, without http:// and without a port"
        ) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


def _complain(message: str) -> int:
    print(f"routing-gateway: error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
