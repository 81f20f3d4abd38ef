"""Asks a service for its health, e.g. for a container's health check."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from routing_client.proxies import Proxy, channel_options, proxy_for_target
from routing_client.targets import read_target

from routing_service.errors import UsageError
from routing_service.server.sockets import why_not_reached


def probe(address: str, timeout: float) -> str:
    """`SERVING`, within `timeout` seconds.

    Raises:
        UsageError: the service is not SERVING or does not answer, or the proxy for it cannot be used.
    """
    try:
        target, proxy = read_target(address), proxy_for_target(address)
    except ValueError as error:
        raise UsageError(str(error)) from error
    with grpc.insecure_channel(target.grpc, channel_options(proxy)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            reasons = [why for each in target.addresses if each.path and (why := why_not_reached(each.path))]
            raise UsageError(_no_answer(address, ": ".join([code, *reasons]), proxy)) from error
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise UsageError(f"the service at {address} is {name}")
    return name


def _no_answer(address: str, why: str, proxy: Proxy | None) -> str:
    said = f"no service answers at {address} ({why}); is `routing-service serve` running?"
    if proxy is None:
        return said
    return f"{said} The call went through the proxy {proxy}; no_proxy can exempt the host."
