"""The exceptions.

::

    RoutingError                            everything that the client raises about a call
    ├── InvalidRequestError                 INVALID_ARGUMENT, OUT_OF_RANGE: the request is wrong; correct it
    │   └── ModelNameError                  a wrong `router-...` model; found before any call
    ├── NotFoundError                       NOT_FOUND: no such router, policy or model
    ├── FailedPreconditionError             FAILED_PRECONDITION: for example, a router without a calibration table
    ├── AccessDeniedError                   UNAUTHENTICATED, PERMISSION_DENIED
    ├── NotImplementedByServerError         UNIMPLEMENTED: this server does not offer the method (yet)
    ├── RouterFailedError               (*) INTERNAL, from the service itself: it ran, and failed
    └── UnavailableError                (*) UNAVAILABLE, and the codes of broken connections and proxies
        ├── OverloadedError             (*) RESOURCE_EXHAUSTED: try again after a pause
        └── DeadlineExceededError       (*) DEADLINE_EXCEEDED

Those marked (*) are outages: the request is right, but there is no decision. `on_unavailable="strong"` or `"weak"`
answers them with the client's own decision. All others are always raised, because waiting does not help.

No exception holds a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AccessDeniedError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "FieldViolation",
    "InvalidRequestError",
    "ModelNameError",
    "NotFoundError",
    "NotImplementedByServerError",
    "OverloadedError",
    "RouterFailedError",
    "RoutingError",
    "UnavailableError",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A wrong field of the request."""

    field: str
    """Its path in the request, for example `threshold` or `conversation.messages[2].role`."""
    description: str
    """What is wrong with it, for people."""


class RoutingError(Exception):
    """A call that gave no decision. Catch this to catch all of them.

    Args:
        message: What is wrong, for people.
        code: The gRPC status code; each subclass has its usual one as the default.
        reason: The name of an `ErrorReason` of the protos without its prefix, for example `THRESHOLD_OUT_OF_RANGE`;
            None when something else failed (a proxy, the connection, the deadline on this side).
        field_violations: The wrong fields of the request.
        metadata: Facts that go with the reason, for example `{"router": "sttic", "nearest": "static"}`.
        retry_after: After how many seconds a retry may help, at least 0; None when the service does not say.
    """

    default_code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str | None = None,
        field_violations: Iterable[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.field_violations = tuple(field_violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    @property
    def field(self) -> str | None:
        """The first wrong field, or None."""
        return self.field_violations[0].field if self.field_violations else None

    def __str__(self) -> str:
        # In one line, whatever a peer says: it is printed and logged.
        return _printable(f"{self.message} ({self.code.name}{f', {self.reason}' if self.reason else ''})")

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments alone; without this, process pools would lose the rest.
        return type(self), (self.message,), self.__dict__


class InvalidRequestError(RoutingError):
    """The request is wrong. `field` and `field_violations` say where."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class ModelNameError(InvalidRequestError, ValueError):
    """A model string that begins with `router-` but has none of the forms in `routing_client.model_names`."""


class NotFoundError(RoutingError):
    """The server has no router, policy or model of that name; `metadata["nearest"]` may have a similar one."""

    default_code = grpc.StatusCode.NOT_FOUND


class FailedPreconditionError(RoutingError):
    """The server's state does not allow it, for example `ROUTER_NOT_CALIBRATED`."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class AccessDeniedError(RoutingError):
    """The server does not know the caller, or does not allow it."""

    default_code = grpc.StatusCode.UNAUTHENTICATED


class NotImplementedByServerError(RoutingError):
    """The server does not offer the method: it is older than the client, or something else answers there."""

    default_code = grpc.StatusCode.UNIMPLEMENTED


class RouterFailedError(RoutingError):
    """The service failed on the request. An outage."""

    default_code = grpc.StatusCode.INTERNAL


class UnavailableError(RoutingError):
    """No answer from the service: refused, unknown host, reset, draining, a proxy's error. An outage."""

    default_code = grpc.StatusCode.UNAVAILABLE


class OverloadedError(UnavailableError):
    """The server has as much work as it accepts. An outage; try again after a pause."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceededError(UnavailableError):
    """The deadline passed before there was an answer. An outage."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


OUTAGES = (UnavailableError, RouterFailedError)
"""What `on_unavailable` covers."""


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
