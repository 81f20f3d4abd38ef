"""Asks a service for its health, e.g. for a container's health check."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from routing_service.errors import UsageError


def probe(address: str, timeout: float) -> str:
    """`SERVING`, within `timeout` seconds.

    Raises:
        UsageError: the service is not SERVING or does not answer.
    """
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            raise UsageError(
                f"no service answers at {address} ({code}); is `routing-service serve` running?"
            ) from error
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise UsageError(f"the service at {address} is {name}")
    return name
