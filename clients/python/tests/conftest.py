"""A scripted gRPC server, and both clients behind one blocking face so that each behaviour is tested on both."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from routing_client import AsyncRoutingClient, RoutingClient
from routing_client._status import DETAILS_KEY
from routing_client.proto import decision_pb2, routing_service_pb2, routing_service_pb2_grpc


class Scripted(routing_service_pb2_grpc.RoutingServiceServicer):
    """Answers each method from its script; the last answer repeats. Counts and keeps what came in."""

    def __init__(self) -> None:
        self.target = ""
        self.attempts: Counter[str] = Counter()
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.remaining: list[float] = []
        self._script: dict[str, deque[Any]] = defaultdict(deque)

    def on(self, method: str, *answers: Any) -> None:
        """Answers are messages, callables of (request, context), or (code, message, details or None) to abort with."""
        self._script[method] = deque(answers)

    def _answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.attempts[method] += 1
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        script = self._script[method]
        answer = script.popleft() if len(script) > 1 else script[0]
        if isinstance(answer, tuple):
            code, message, details = answer
            if details is not None:
                context.set_trailing_metadata(((DETAILS_KEY, details),))
            context.abort(code, message)
        return answer(request, context) if callable(answer) else answer

    def Decide(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 (the generated name)
        return self._answer("Decide", request, context)

    def BatchDecide(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 (the generated name)
        return self._answer("BatchDecide", request, context)

    def ListRouters(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 (the generated name)
        return self._answer("ListRouters", request, context)

    def Calibrate(self, request_iterator: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 (the generated name)
        return self._answer("Calibrate", list(request_iterator), context)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    servicer = Scripted()
    with ThreadPoolExecutor(max_workers=8) as pool:
        server = grpc.server(pool)
        routing_service_pb2_grpc.add_RoutingServiceServicer_to_server(servicer, server)
        servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield servicer
        server.stop(None).wait()


class Blocking:
    """An asynchronous client whose methods block, on an event loop of its own."""

    def __init__(self, client: AsyncRoutingClient) -> None:
        self.client = client
        self.runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.client, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.runner.run(attribute(*args, **kwargs))

        return call


MakeClient = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients, with methods that block, of the one kind or the other."""
    made: list[Any] = []

    def make(*args: Any, **kwargs: Any) -> Any:
        client = (
            RoutingClient(*args, **kwargs) if request.param == "sync" else Blocking(AsyncRoutingClient(*args, **kwargs))
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
        if isinstance(client, Blocking):
            client.runner.close()


@pytest.fixture
def decided() -> Callable[..., Any]:
    """Makes a server's Decision message, complete unless told otherwise."""

    def make(**changes: Any) -> Any:
        fields = {
            "decision_id": "d-1",
            "model": "big",
            "tier": decision_pb2.TIER_STRONG,
            "strong_win_rate": 0.75,
            "threshold": 0.5,
            "router": "static",
            "router_revision": "r1",
            "reason": decision_pb2.DECISION_REASON_THRESHOLD,
            "prompt_tokens": 7,
            "timing": decision_pb2.Timing(tokenize_us=1, queue_us=0, inference_us=2, total_us=3),
            "source": decision_pb2.SCORE_SOURCE_CACHED,
            "policy": "cheap",
            "generation": 4,
            "asked": decision_pb2.Asked(length_bytes=5, digest="ab" * 32),
        }
        return decision_pb2.Decision(**{**fields, **changes})

    return make


@pytest.fixture
def echo_batch(decided: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Answers a batch with one decision each, carrying the item's prompt as the model's name."""

    def answer(request: Any, _context: Any) -> Any:
        results = [routing_service_pb2.DecideResult(decision=decided(model=item.prompt)) for item in request.requests]
        return routing_service_pb2.BatchDecideResponse(results=results)

    return answer


@pytest.fixture
def slow() -> Callable[[Any, Any], Any]:
    """Answers long after any deadline here, unless the call has ended."""

    def answer(_request: Any, context: grpc.ServicerContext) -> Any:
        for _ in range(500):
            if not context.is_active():
                break
            time.sleep(0.01)
        return routing_service_pb2.DecideResponse()

    return answer
