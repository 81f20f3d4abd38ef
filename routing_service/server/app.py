"""The serving process: the one place that wires configuration, engine, gRPC server, health, metrics and signals."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from routing_service.config import Config, split_address
from routing_service.engine.build import build_engine
from routing_service.engine.engine import Engine
from routing_service.errors import ServerError
from routing_service.observability.metrics import Metrics
from routing_service.server.service import SERVICE_NAME, RoutingService

log = structlog.get_logger(__name__)

MAX_PENDING_CALLS = 65_536

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def serve(
    config: Config, ready_file: Path | None = None, *, reuse_port: bool = False, handle_signals: bool = True
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    The port is bound first and health says NOT_SERVING; when every artifact is loaded and has passed its self-test it
    says SERVING, and `ready_file` gets the bound address as its one line.

    Args:
        config: the whole configuration.
        ready_file: written when the service answers SERVING, None for none.
        reuse_port: share the port with other processes (see `routing_service.server.workers`).
        handle_signals: off when the caller runs this in an event loop of its own and cancels it.

    Raises:
        ServerError: an address cannot be bound.
        ConfigError, ArtifactError: the engine cannot be built.
    """
    started = perf_counter()
    stop = asyncio.Event()
    orphaned = asyncio.create_task(_stop_when_orphaned(stop)) if reuse_port else None
    if handle_signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    service = RoutingService(config.server.limits, metrics)
    server, status = _grpc_server(config, service, reuse_port=reuse_port)
    address = _bind(server, config.server.address, reuse_port=reuse_port)
    await _set_health(status, _NOT_SERVING)
    await server.start()
    engine: Engine | None = None
    try:
        _serve_metrics(config, metrics)
        engine = await asyncio.to_thread(build_engine, config)
        service.use(engine)
        # What is loaded stays: the garbage collector need not check it again and again.
        gc.collect()
        gc.freeze()
        await _set_health(status, _SERVING)
        if ready_file is not None:
            write_atomically(ready_file, f"{address}\n")
        log.info("serving", address=address, seconds=round(perf_counter() - started, 3))
        await stop.wait()
        log.info("draining", delay_seconds=config.server.shutdown.delay_seconds)
        await _set_health(status, _NOT_SERVING)
        await asyncio.sleep(config.server.shutdown.delay_seconds)
    finally:
        if orphaned is not None:
            orphaned.cancel()
        service.drain()
        await server.stop(config.server.shutdown.grace_seconds)
        if engine is not None:
            engine.close()
    log.info("stopped")


async def _stop_when_orphaned(stop: asyncio.Event) -> None:
    """After its supervisor was killed, a worker would keep the port forever."""
    supervisor = os.getppid()
    while os.getppid() == supervisor:  # noqa: ASYNC110 - the system has no event for this
        await asyncio.sleep(0.5)
    stop.set()


def _grpc_server(config: Config, service: RoutingService, *, reuse_port: bool) -> tuple[grpc.aio.Server, Any]:
    limits = config.server.limits
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", int(reuse_port)),
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # gRPC cancels more waiting calls than this, without a reason and without saying that a retry would help.
            ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        ],
        maximum_concurrent_rpcs=limits.max_concurrent_calls,
    )
    server.add_generic_rpc_handlers(service.handlers())
    status = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack it
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    if config.server.reflection:
        from grpc_reflection.v1alpha import reflection

        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    return server, status


async def _set_health(status: Any, value: int) -> None:
    for name in ("", SERVICE_NAME):
        await status.set(name, value)


def _bind(server: grpc.aio.Server, address: str, *, reuse_port: bool) -> str:
    host, port = split_address(address)
    if port and not reuse_port:
        check_free(address)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ServerError(f"cannot listen on {address}: gRPC refused it; choose another --address") from error
    return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"


def check_free(address: str) -> None:
    """Check that an address can be bound, because gRPC does not say why not.

    Raises:
        ServerError: the port is taken, the host is not this machine's, or its name does not resolve.
    """
    host, port = split_address(address)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except OSError as error:
        advice = "stop what listens there, or choose another --address (port 0 takes a free one)"
        raise ServerError(f"cannot listen on {address}: {(error.strerror or str(error)).lower()}; {advice}") from error


def _serve_metrics(config: Config, metrics: Metrics) -> None:
    if config.server.metrics_address is None:
        return
    host, port = split_address(config.server.metrics_address)
    try:
        bound = metrics.serve(host, port)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise ServerError(
            f"cannot serve metrics on {config.server.metrics_address}: {problem}; choose another --metrics-address"
        ) from error
    log.info("metrics", address=f"{host}:{bound}")


def write_atomically(path: Path, text: str) -> None:
    """Write a ready file, completely or not at all.

    Raises:
        ServerError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ServerError(
            f"cannot write the ready file {path}: {error.strerror}; choose another --ready-file"
        ) from error
