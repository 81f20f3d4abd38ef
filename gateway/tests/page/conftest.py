"""The page in a real browser, on a real gateway between a fake decision service and the echo."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# What only these tests need is imported where it is used: a conftest cannot skip, its test modules do.
if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page
    from routing_client.testing import FakeService
    from routing_gateway.config import GatewayConfig
    from routing_gateway.echo import RunningEcho

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ROOT = Path(__file__).resolve().parents[3]
SCREENSHOTS = Path(os.environ.get("ROUTING_SCREENSHOTS") or ROOT / ".screenshots")
START_S = 30.0


@dataclass
class Stand:
    """Everything behind the page."""

    url: str
    fake: FakeService
    echo: RunningEcho


@dataclass
class Seen:
    """What a browser page has asked for and complained of."""

    urls: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def serve_gateway(config: GatewayConfig) -> Iterator[str]:
    """Serve a gateway in a thread while the context lasts. Gives its URL."""
    from routing_gateway.app import create_app
    from routing_gateway.server import GatewayServer, uvicorn_config

    ready = threading.Event()
    server = GatewayServer(uvicorn_config(create_app(config), config, 0), ready.set)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            assert ready.wait(START_S)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_S)


@contextmanager
def stands() -> Iterator[Callable[..., Stand]]:
    """Makes a stand. Prompts with `hard` in them have win rate 0.9, others 0.3; `fields` are those of `Endpoints`,
    and `weak_fault` is one of the echo's for all calls of the weak model."""
    from routing_client.endpoints import Endpoint, Endpoints
    from routing_client.testing import FakeService, fake_server
    from routing_gateway.config import GatewayConfig
    from routing_gateway.echo import create_echo, serve_echo

    with ExitStack() as stack:

        def make(
            *, prices: bool = True, pace: float = 0.0, offline: bool = False, weak_fault: str = "", **fields: Any
        ) -> Stand:
            fake = FakeService(
                {"hard": 0.9}, default=0.3, models=("big-model", "small-model"), policies={"thrifty": 0.95}
            )
            echo = stack.enter_context(serve_echo(create_echo(pace=pace, keep_requests=True)))
            price = 1.0 if prices else 0.0
            weak = f"small-model#{weak_fault}"
            models = {
                "big-model": Endpoint(echo.base_url, input_price=10 * price, output_price=30 * price),
                "small-model": Endpoint(echo.base_url, None, None, weak, input_price=price, output_price=3 * price),
            }
            service = stack.enter_context(fake_server(fake))
            endpoints = Endpoints(**{"models": models, "service": service, **fields})
            url = stack.enter_context(serve_gateway(GatewayConfig(endpoints, echo=offline)))
            return Stand(url, fake, echo)

        yield make


@pytest.fixture
def make_stand() -> Iterator[Callable[..., Stand]]:
    """As `stands` has it."""
    with stands() as make:
        yield make


@pytest.fixture(scope="session")
def usual_stand() -> Iterator[Stand]:
    with stands() as make:
        yield make()


@pytest.fixture
def stand(usual_stand: Stand) -> Stand:
    """As if it had just been made."""
    from routing_gateway.echo import Counters

    usual_stand.fake.failure = None
    usual_stand.echo.state.counters = Counters()
    usual_stand.echo.state.requests.clear()
    usual_stand.echo.state.fault = ""
    return usual_stand


# For a module and not for the session: while Playwright runs, no other test in this process can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH; Debian has the package chromium")
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root, as which containers do; it sees nothing but these tests' own page.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a stand's page in a context of its own: `open_page(stand, color_scheme="dark")`."""
    contexts: list[BrowserContext] = []

    def open_page(stand: Stand, *, ready: bool = True, **context: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **context}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.goto(stand.url)
        if ready:
            page.wait_for_selector("#health[data-state=ready]")
        return page

    yield open_page
    for each in contexts:
        each.close()


@pytest.fixture
def page(stand: Stand, open_page: Callable[..., Page]) -> Page:
    return open_page(stand)


@pytest.fixture
def shot() -> Callable[[Page, str], None]:
    """Keeps a picture of the page, to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return take
