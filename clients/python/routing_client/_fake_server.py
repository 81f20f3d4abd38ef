"""The fake service behind a real gRPC port."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc

from routing_client._channel import SERVICE
from routing_client._fake_messages import status_message
from routing_client._fake_service import FakeService
from routing_client._gen.llmrouting.v1 import routing_service_pb2
from routing_client._status import DETAILS_KEY
from routing_client.exceptions import RoutingError
from routing_client.targets import read_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def serve(service: FakeService, address: str) -> Iterator[str]:
    """Serve at `address`, `HOST:PORT` or `unix:PATH`, while the context lasts. Gives it with the bound port."""
    where = read_address(address)
    with ThreadPoolExecutor(max_workers=4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, _handlers(service)),))
        port = server.add_insecure_port(where.target)
        server.start()
        try:
            yield str(where if where.path else replace(where, port=port))
        finally:
            server.stop(grace=None).wait()


def _handlers(service: FakeService) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    descriptor = routing_service_pb2.DESCRIPTOR.services_by_name["RoutingService"]
    handlers = {}
    for method in descriptor.methods:
        if method.server_streaming:
            continue  # gRPC itself answers UNIMPLEMENTED
        make = grpc.stream_unary_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            _behaviour(service, method.name, streams=method.client_streaming),
            request_deserializer=getattr(routing_service_pb2, method.input_type.name).FromString,
            response_serializer=getattr(routing_service_pb2, method.output_type.name).SerializeToString,
        )
    return handlers


def _behaviour(service: FakeService, method: str, *, streams: bool) -> Callable[[Any, grpc.ServicerContext], Any]:
    def behaviour(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return service.answer(method, list(request) if streams else request)
        except RoutingError as error:
            context.set_trailing_metadata(((DETAILS_KEY, status_message(error).SerializeToString()),))
            context.abort(error.code, error.message)

    return behaviour
