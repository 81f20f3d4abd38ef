"""Whether the decision service is serving, asked as gRPC's health protocol has it."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from routing_client.proxies import Proxy, channel_options
from routing_client.targets import read_target

_TIMEOUT_S = 1.0


class ServiceProbe:
    """Asks the service at `target` for its health, over a connection of its own, through `proxy` if there is one."""

    def __init__(self, target: str, proxy: Proxy | None = None) -> None:
        self._target, self._options = read_target(target).grpc, channel_options(proxy)
        self._channel: grpc.aio.Channel | None = None
        self._asking: asyncio.Task[str] | None = None

    async def state(self) -> str:
        """`SERVING`, another status of the protocol, or the gRPC status code with which the question failed."""
        if self._asking is None:
            # Those who ask at the same time share one question.
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """Close the connection."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        if self._channel is not None:
            await self._channel.close(None)

    async def _ask(self) -> str:
        if self._channel is None:
            # The next question after an outage must not wait for gRPC's long pauses between attempts to connect.
            pauses = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
            self._channel = grpc.aio.insecure_channel(self._target, [*self._options, *pauses])
        stub = health_pb2_grpc.HealthStub(self._channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            # A service without the protocol answers all the same.
            return "SERVING" if error.code() is grpc.StatusCode.UNIMPLEMENTED else error.code().name
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        return name

    def _asked(self, _task: asyncio.Task[str]) -> None:
        self._asking = None
