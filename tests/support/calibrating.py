"""A router that scores as its prompts say, engines over it, and streams for `Calibrate`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import grpc
import pytest
from google.rpc import error_details_pb2
from routing_client.proto import routing_service_pb2 as pb

from routing_service.config import Config, FallbackConfig
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores
from tests.support.grpc_status import status_of

SECRET = "swordfish"
Serve = Callable[..., Any]


class NumberRouter(Router):
    """The prompt is its own win rate; `raise` fails, and `slow` makes the router wait."""

    type: ClassVar[str] = "number"

    def __init__(self, *, inline: bool = True) -> None:
        super().__init__(revision="r1", models=ModelPair("big", "small"))
        self.inline = inline  # type: ignore[misc] # one class for both kinds
        self.max_batch = self.scored = 0

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        self.max_batch, self.scored = max(self.max_batch, len(texts)), self.scored + len(texts)
        if any("raise" in text for text in texts):
            raise RuntimeError(SECRET)
        if any("slow" in text for text in texts):
            time.sleep(0.05)
        return Scores([float(text.split()[0]) for text in texts], None, [False] * len(texts))


def engine_of(router: Router, on_router_error: Any = "error") -> Engine:
    routers = {"static": router}
    return Engine(routers, Planner(routers, Config()), FallbackConfig(on_router_error))


def stream(*prompts: str, shares: Sequence[float] = (0.5,), **settings: Any) -> Iterator[pb.CalibrateRequest]:
    yield pb.CalibrateRequest(strong_shares=shares, **settings)
    for prompt in prompts:
        yield pb.CalibrateRequest(prompts=[prompt])


async def refusal_while_sending(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str, str, dict[str, str]]:
    """`refusal` of a call that the server ends while there is more to send.

    grpc.aio then sometimes reports, in place of the server's status, that a message could not be sent. That says
    nothing of the server, so the call is made again.
    """
    for _ in range(20):
        made = call()
        try:
            await made
        except grpc.aio.AioRpcError as error:
            if error.details() != "Internal error from Core":
                return await refusal(made)
    raise AssertionError("no call reached the server whole")


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str, dict[str, str]]:
    """Code, reason, message and metadata of the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught.value).details[0].Unpack(info)
    assert SECRET not in str(caught.value)
    return caught.value.code(), info.reason, caught.value.details() or "", dict(info.metadata)
