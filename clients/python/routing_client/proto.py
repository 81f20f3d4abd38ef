"""The generated code of `llmrouting.v1`, under its public name.

::

    from routing_client.proto import routing_service_pb2, routing_service_pb2_grpc

    stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
    stub.Decide(routing_service_pb2.DecideRequest(prompt="Hi", threshold=0.6))

The files are made from `protos/` and are in `routing_client._gen`. Its layout may change.
"""

from routing_client._gen.llmrouting.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    conversation_pb2,
    decision_pb2,
    error_reason_pb2,
    item_error_pb2,
    routing_service_pb2,
    routing_service_pb2_grpc,
)

__all__ = [
    "admin_service_pb2",
    "admin_service_pb2_grpc",
    "conversation_pb2",
    "decision_pb2",
    "error_reason_pb2",
    "item_error_pb2",
    "routing_service_pb2",
    "routing_service_pb2_grpc",
]
