"""What a failed call says beside its code."""

from __future__ import annotations

from typing import Any

from google.rpc import status_pb2


def status_of(error: Any) -> status_pb2.Status:
    """The `google.rpc.Status` of a `grpc.RpcError`, from a channel of either kind."""
    # Metadata is pairs in every release of grpcio; what `dict` makes of it is not always the same.
    (raw,) = (value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
    return status_pb2.Status.FromString(raw)
