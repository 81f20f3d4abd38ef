"""The serving process: the one place that wires configuration, engine, gRPC server, health, metrics and signals."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from time import perf_counter

import grpc
import structlog
from routing_client.targets import read_address

from routing_service.config import Config, ServerConfig
from routing_service.engine.build import build_engine
from routing_service.errors import ServerError
from routing_service.observability.exposition import MetricsServer
from routing_service.observability.metrics import Metrics
from routing_service.server.listening import Claim, listen
from routing_service.server.loading import load
from routing_service.server.service import SERVICE_NAME, RoutingService
from routing_service.server.standard import Health, add_reflection
from routing_service.server.stopping import Stopping, asked
from routing_service.tether import tether

log = structlog.get_logger(__name__)

MAX_PENDING_CALLS = 65_536
# What a process whose starter has ended may take beyond its grace period.
_LAST_SECONDS = 5.0


async def serve(
    config: Config, stopping: Stopping, on_ready: Callable[[str], None], *, is_worker: bool = False
) -> None:
    """Serve until the process is to stop, then drain and return.

    The port is claimed first. When every artifact is loaded and has passed its self-test, the server listens and
    answers, and its health is SERVING.

    Args:
        config: the whole configuration.
        stopping: says when to stop.
        on_ready: called with the bound address when the service answers SERVING.
        is_worker: a supervisor holds the port's claim.

    Raises:
        ServerError: an address cannot be bound.
        LoadingAbandonedError: the process is to stop, or loading takes too long; loading still goes on in a thread.
        ConfigError, ArtifactError: the engine cannot be built.
    """
    started = perf_counter()
    settings = config.server
    stop = asyncio.create_task(asked(stopping))
    metrics = Metrics()
    service = RoutingService(settings.limits, metrics)
    async with AsyncExitStack() as resources:
        resources.callback(stop.cancel)
        address = settings.address
        if not is_worker:
            address = resources.enter_context(Claim(address)).address
        await _serve_metrics(settings, metrics, resources)
        engine = await load(partial(build_engine, config), stop, settings.start_seconds)
        resources.callback(engine.close)
        service.use(engine)
        # What is loaded stays: the garbage collector need not check it again and again.
        gc.collect()
        gc.freeze()
        server = _grpc_server(settings, service)
        health = Health(server, [SERVICE_NAME])
        await health.set(serving=not stopping.is_asked)
        if not stopping.is_asked:
            listen(server, address)
            await server.start()
        try:
            if not stopping.is_asked:
                tether.loosen(settings.shutdown.grace_seconds + _LAST_SECONDS)
                on_ready(address)
                log.info("serving", address=address, seconds=round(perf_counter() - started, 3))
                await stop
                log.info("draining", delay_seconds=settings.shutdown.delay_seconds)
                await health.set(serving=False)
                # A process whose starter has ended is in the way of the next one.
                await asyncio.sleep(0.0 if tether.is_cut else settings.shutdown.delay_seconds)
        finally:
            service.drain()
            await server.stop(settings.shutdown.grace_seconds)
    log.info("stopped")


def _grpc_server(config: ServerConfig, service: RoutingService) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),  # beside the port's claim, and other workers
            ("grpc.max_receive_message_length", config.limits.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # gRPC cancels more waiting calls than this, without a reason and without saying that a retry would help.
            ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        ],
        maximum_concurrent_rpcs=config.limits.max_concurrent_calls,
    )
    server.add_generic_rpc_handlers(service.handlers())
    if config.reflection:
        add_reflection(server, [SERVICE_NAME])
    return server


async def _serve_metrics(config: ServerConfig, metrics: Metrics, resources: AsyncExitStack) -> None:
    if config.metrics_address is None:
        return
    where = read_address(config.metrics_address)
    server = MetricsServer(metrics.registry)
    try:
        bound = await server.start(where.host, where.port)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise ServerError(
            f"cannot serve metrics on {config.metrics_address}: {problem}; choose another --metrics-address"
        ) from error
    resources.push_async_callback(server.close)
    log.info("metrics", address=str(replace(where, port=bound)))
