"""What every gRPC server offers beside its own methods: its health, and reflection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Health:
    """The health of a server as a whole and of its services, by gRPC's health checking protocol. NOT_SERVING at first.

    Args:
        server: gets the protocol's methods.
        services: the full names of its services.
    """

    def __init__(self, server: grpc.aio.Server, services: Sequence[str]) -> None:
        self._names = ("", *services)
        self._servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack it
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, *, serving: bool) -> None:
        """Change it, and tell those who watch it."""
        states = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._servicer.set(name, states.SERVING if serving else states.NOT_SERVING)


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Offer server reflection."""
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
