"""From gRPC's errors to ours: the one table from status code to exception, and the details in the trailing metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from routing_client import exceptions as exc
from routing_client._gen.llmrouting.v1 import error_reason_pb2, item_error_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routing_client.proxies import Proxy

DETAILS_KEY = "grpc-status-details-bin"
ERROR_DOMAIN = "llmrouting.v1"

_NO_MESSAGE = "no explanation was given"
_REASONS: dict[int, str] = {
    number: name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number
}
_Code = grpc.StatusCode
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in _Code}
_EXCEPTIONS: dict[grpc.StatusCode, type[exc.RoutingError]] = {
    _Code.INVALID_ARGUMENT: exc.InvalidRequestError,
    _Code.OUT_OF_RANGE: exc.InvalidRequestError,
    _Code.NOT_FOUND: exc.NotFoundError,
    _Code.FAILED_PRECONDITION: exc.FailedPreconditionError,
    _Code.UNAUTHENTICATED: exc.AccessDeniedError,
    _Code.PERMISSION_DENIED: exc.AccessDeniedError,
    _Code.UNIMPLEMENTED: exc.NotImplementedByServerError,
    _Code.INTERNAL: exc.RouterFailedError,
    _Code.DATA_LOSS: exc.RouterFailedError,
    _Code.RESOURCE_EXHAUSTED: exc.OverloadedError,
    _Code.DEADLINE_EXCEEDED: exc.DeadlineExceededError,
    _Code.UNAVAILABLE: exc.UnavailableError,
    # The codes of a reset stream, a stopping server or a proxy that speaks no gRPC. The caller's own cancellation
    # never comes here: asyncio raises CancelledError, and the synchronous client offers none.
    _Code.UNKNOWN: exc.UnavailableError,
    _Code.CANCELLED: exc.UnavailableError,
    _Code.ABORTED: exc.UnavailableError,
}


def error_from_call(call: grpc.RpcError, proxy: Proxy | None = None) -> exc.RoutingError:
    """The exception for a failed call of either gRPC API. Both have `code`, `details` and trailing metadata.

    Args:
        call: What gRPC raised.
        proxy: The proxy that it went through, which may be why the service did not answer.
    """
    status = _status_in(_read(call, "trailing_metadata") or ())
    code = _read(call, "code")
    if not isinstance(code, grpc.StatusCode):
        code = _Code.UNKNOWN
    said = _read(call, "details") or (status.message if status else "")
    error = _error(code, said, status.details if status else ())
    if proxy is not None and error.reason is None and isinstance(error, exc.UnavailableError):
        error.message += f"; the call went through the proxy {proxy}"
    return error


def error_from_item(error: item_error_pb2.ItemError) -> exc.RoutingError:
    """The exception for a bad item's error."""
    code = _CODES.get(error.code, _Code.UNKNOWN)
    reason, message = reason_name(error.reason), error.message or _NO_MESSAGE
    return _exception_type(code, reason, message)(
        message,
        code=code,
        reason=reason,
        field_violations=[exc.FieldViolation(error.field, message)] if error.field else (),
        metadata=error.metadata,
        retry_after=_seconds(error.retry_delay) if error.HasField("retry_delay") else None,
    )


def reason_name(number: int) -> str | None:
    """The name of an `ErrorReason` without its prefix; None for none, `UNKNOWN_n` for one unknown to this client."""
    return _REASONS.get(number, f"UNKNOWN_{number}") if number else None


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _read(call: grpc.RpcError, name: str) -> Any:
    # A bare RpcError (an interceptor may raise one) has none of the methods.
    method = getattr(call, name, None)
    return method() if callable(method) else None


def _status_in(metadata: Iterable[Any]) -> status_pb2.Status | None:
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _error(code: grpc.StatusCode, message: str, details: Iterable[Any]) -> exc.RoutingError:
    reason: str | None = None
    facts: dict[str, str] = {}
    retry_after: float | None = None
    violations: list[exc.FieldViolation] = []
    for detail in details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        try:
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                reason, facts = info.reason or None, dict(info.metadata)
            elif detail.Unpack(bad_request):
                violations += [exc.FieldViolation(v.field, v.description) for v in bad_request.field_violations]
            elif detail.Unpack(retry):
                retry_after = _seconds(retry.retry_delay)
        except DecodeError:
            continue
    return _exception_type(code, reason, message)(
        message or _NO_MESSAGE,
        code=code,
        reason=reason,
        field_violations=violations,
        metadata=facts,
        retry_after=retry_after,
    )


def _exception_type(code: grpc.StatusCode, reason: str | None, message: str) -> type[exc.RoutingError]:
    if reason is None:
        # Without a reason, the failure was not the service's.
        if code in (_Code.INTERNAL, _Code.DATA_LOSS):
            return exc.UnavailableError
        # gRPC itself refuses too large messages with this code; that is no overload.
        if code is _Code.RESOURCE_EXHAUSTED and "message larger than max" in message:
            return exc.InvalidRequestError
    return _EXCEPTIONS.get(code, exc.RoutingError)
