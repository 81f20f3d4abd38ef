"""An upstream, a decision service, and both clients behind one blocking face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from routing_client import AsyncRoutingClient, RoutingClient
from routing_client.endpoints import Endpoint, Endpoints
from routing_client.openai import AsyncRoutedOpenAI, RoutedOpenAI
from routing_client.testing import FakeService, fake_server
from routing_gateway.echo import EchoState, RunningEcho, serve_echo

STRONG, WEAK = "big", "small"
HARD, EASY = "prove it", "say hi"
PATIENCE = 30.0
"""Seconds for a decision: a busy machine is no outage."""


class Face:
    """One of the clients, with methods that block."""

    def __init__(self, client: RoutedOpenAI | AsyncRoutedOpenAI, runner: asyncio.Runner) -> None:
        self.client: Any = client
        self._runner = runner

    def run(self, call: Callable[[Any], Any]) -> Any:
        """What `call` gives for the client, awaited when that is to be awaited."""

        async def awaited() -> Any:
            return await call(self.client)

        return self._runner.run(awaited()) if isinstance(self.client, AsyncRoutedOpenAI) else call(self.client)

    def create(self, model: str, text: str = EASY, **arguments: Any) -> Any:
        """A chat completion of one user message."""
        messages = arguments.pop("messages", [{"role": "user", "content": text}])
        return self.run(lambda client: client.chat.completions.create(model=model, messages=messages, **arguments))

    def chunks(self, stream: Any) -> list[Any]:
        """All that a stream still holds."""
        if not isinstance(self.client, AsyncRoutedOpenAI):
            return list(stream)

        async def collect() -> list[Any]:
            return [chunk async for chunk in stream]

        return self._runner.run(collect())

    def close(self) -> None:
        """Close the client, and that of the service which it was made with."""
        self.run(lambda client: client.close())
        self.run(lambda client: client.routing_client.close())


MakeFace = Callable[..., Face]


@pytest.fixture(scope="module", autouse=True)
def cheap_clients(no_authorities: Path) -> None:
    """The SDK's clients read no authorities; all servers here are plain."""


@pytest.fixture(scope="module")
def running_echo() -> Iterator[RunningEcho]:
    with serve_echo() as running:
        yield running


@pytest.fixture
def echo(running_echo: RunningEcho) -> RunningEcho:
    running_echo.state.requests.clear()
    running_echo.state.fault = ""
    return running_echo


@pytest.fixture
def upstream(echo: RunningEcho) -> EchoState:
    """What the upstream got, and its faults."""
    return echo.state


@pytest.fixture
def service() -> FakeService:
    return FakeService({"prove": 0.9}, default=0.2, models=(STRONG, WEAK), policies={"cheap": 0.95})


@pytest.fixture
def target(service: FakeService) -> Iterator[str]:
    with fake_server(service) as address:
        yield address


@pytest.fixture
def endpoints(echo: RunningEcho, target: str) -> Endpoints:
    return Endpoints(
        {
            STRONG: Endpoint(echo.base_url, api_key="sk-big", upstream_model="up-big", input_price=10, output_price=30),
            WEAK: Endpoint(echo.base_url, api_key="sk-small", input_price=1, output_price=2),
        },
        service=target,
        strong_model=STRONG,
        weak_model=WEAK,
    )


@pytest.fixture(params=["sync", "async"])
def make_face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeFace]:
    """Makes clients of the one kind or the other, in an environment without keys."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    made: list[Face] = []
    runner = asyncio.Runner()

    def make(*, service: str | None = None, **arguments: Any) -> Face:
        address = service or getattr(arguments.get("endpoints"), "service", None)
        client: RoutedOpenAI | AsyncRoutedOpenAI
        if request.param == "sync":
            client = RoutedOpenAI(service=address and RoutingClient(address, timeout=PATIENCE), **arguments)
        else:
            client = AsyncRoutedOpenAI(service=address and AsyncRoutingClient(address, timeout=PATIENCE), **arguments)
        made.append(Face(client, runner))
        return made[-1]

    with runner:
        yield make
        for face in made:
            face.close()


@pytest.fixture
def face(make_face: MakeFace, endpoints: Endpoints) -> Face:
    return make_face(endpoints=endpoints, max_retries=0)
