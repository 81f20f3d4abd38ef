"""`chat`: the decision service, an offline upstream and the gateway with its page, started and stopped as one."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from routing_gateway.cli.chat_service import HOST, ChatError, DecisionService, Signals, Stop, decision_service

if TYPE_CHECKING:
    from routing_client import RouterList
    from routing_client.endpoints import Endpoint, Endpoints

DEFAULT_PORT = 6060
# What GPT-4 Turbo and Mixtral 8x7B cost when the router that ships was trained for them: US dollars for a million input
# and output tokens. The echo costs nothing; with these the page has savings to show, and says that they are an example.
EXAMPLE_PRICES = {"strong": (10.0, 30.0), "weak": (0.6, 0.6)}
ECHO_PACE_SECONDS = 0.03
# Streams that are still open then are cut off: whoever pressed Ctrl-C does not want to wait for an answer.
GATEWAY_STOP_SECONDS = 1

name = "chat"
summary = "Open the chat page, against an offline echo or your own endpoints."
example = "routing-service chat --gateway-config gateway.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--config", type=Path, metavar="F", help="the service's YAML (default: the router that ships)")
    parser.add_argument(
        "--gateway-config",
        type=Path,
        metavar="F",
        help="YAML that says where the models are, as routing-gateway takes it (default: an offline echo)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        metavar="P",
        help=f"the page's port; 0 takes a free one (default {DEFAULT_PORT})",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the page's address and open nothing")
    parser.add_argument(
        "--ready-file", type=Path, metavar="F", help="file that gets the page's HOST:PORT once it answers"
    )


def run(options: argparse.Namespace) -> None:
    """Run everything that the chat page needs until SIGINT or SIGTERM, or until a part of it ends."""
    from routing_client import RoutingClient, RoutingError
    from routing_client.endpoints import EndpointsError

    from routing_gateway.config import GatewayConfig
    from routing_gateway.echo import create_echo, serve_echo
    from routing_gateway.server import serve

    service: DecisionService | None = None
    with suppress(Stop), Signals() as signals, ExitStack() as parts:
        try:
            endpoints = None if options.gateway_config is None else _load(options.gateway_config)
            service = parts.enter_context(decision_service(options.config, signals))
            with RoutingClient(service.address, timeout=10.0) as client:
                served = client.routers()
            if endpoints is None:
                echo = parts.enter_context(serve_echo(create_echo(pace=ECHO_PACE_SECONDS)))
                endpoints = _echo_endpoints(served, echo.base_url)
            config = GatewayConfig(replace(endpoints, service=service.address), echo=options.gateway_config is None)
        except EndpointsError as error:
            raise ChatError(f"the gateway's configuration cannot be used: {error}") from error
        except RoutingError as error:
            raise ChatError(f"the decision service does not answer: {error}") from error
        # Its one error here would be that answers were cut off, as whoever pressed Ctrl-C wants them to be.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        try:
            serve(
                config,
                HOST,
                options.port,
                ready_file=options.ready_file,
                look_at_service=False,  # it is this process's own, and watched
                on_ready=_announce(served, offline=config.echo, browser=not options.no_browser),
                on_stop=service.expect_the_end,
                shutdown_timeout_s=GATEWAY_STOP_SECONDS,
            )
        except OSError as error:
            # Not the error's own words, which name the address once more, as a tuple.
            number = error.errno or 0
            problem = (os.strerror(number) if number in errno.errorcode else str(error)).lower()
            if error.filename is not None:
                raise ChatError(f"--ready-file {options.ready_file} cannot be written: {problem}") from error
            advice = "stop what listens there, or choose another --port (0 takes a free one)"
            raise ChatError(f"cannot listen on {HOST}:{options.port}: {problem}; {advice}") from error
    if service is not None and service.lost is not None:
        raise ChatError(f"the decision service has ended (exit code {service.lost}), and so has the chat")


def _load(path: Path) -> Endpoints:
    from routing_client.endpoints import load_endpoints

    return load_endpoints(path)


def _echo_endpoints(served: RouterList, base_url: str) -> Endpoints:
    """Every model that a decision may name, all of them at the echo, with example prices."""
    from routing_client.endpoints import Endpoint, Endpoints

    models: dict[str, Endpoint] = {}
    for router in served:
        for tier, (input_price, output_price) in EXAMPLE_PRICES.items():
            endpoint = Endpoint(base_url, input_price=input_price, output_price=output_price)
            models.setdefault(getattr(router.models, tier), endpoint)
    return Endpoints(models, default=Endpoint(base_url))


def _announce(served: RouterList, *, offline: bool, browser: bool) -> Callable[[str], None]:
    """What to do when the page is there, with its HOST:PORT."""

    def ready(address: str) -> None:
        url = f"http://{address}"
        _say(f"Chat page:   {url}")
        if served.default is not None:
            _say(f"OpenAI SDKs: {url}/v1, with a model such as router-{served.default.name}-50pct")
        if offline:
            _say("No LLM is called: an offline echo answers. For real ones, give --gateway-config.")
        _say("Ctrl-C stops it all.")
        if browser and _has_screen():
            import webbrowser

            # A browser without a window would hold this thread until it is closed.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    return ready


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # or Python tries again at exit
        if isinstance(error, BrokenPipeError):
            raise
        raise ChatError(f"standard output cannot be written: {error.strerror}") from error


def _has_screen() -> bool:
    """Whether a browser can open a window. Without one, a text browser would take over this terminal."""
    return sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))


def _port(text: str) -> int:
    from routing_client.targets import read_port

    try:
        return read_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
