"""What can go wrong, as exceptions.

::

    RoutingError                            everything that the client raises about a call
    ├── InvalidRequestError                 INVALID_ARGUMENT, OUT_OF_RANGE: the request is wrong; mend it
    │   └── ModelNameError                  a `router-...` model that says nothing sound; found before any call
    ├── NotFoundError                       NOT_FOUND: no such router, policy or model
    ├── FailedPreconditionError             FAILED_PRECONDITION: for example, a router without a calibration table
    ├── AccessDeniedError                   UNAUTHENTICATED, PERMISSION_DENIED
    ├── NotImplementedByServerError         UNIMPLEMENTED: this server does not offer the method (yet)
    ├── RouterFailedError               (*) INTERNAL, from the service itself: it ran, and failed
    └── UnavailableError                (*) UNAVAILABLE, and whatever else a broken connection or a proxy makes of it
        ├── OverloadedError             (*) RESOURCE_EXHAUSTED: try again after a pause
        └── DeadlineExceededError       (*) DEADLINE_EXCEEDED

Those marked (*) are outages: the request is sound, yet there is no decision. `on_unavailable="strong"` or `"weak"`
answers them with a decision of the client's own; all others are raised always, because waiting mends none of them.

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
    """A field of the request that is at fault."""

    field: str
    """Its path in the request, for example `threshold` or `conversation.messages[2].role`."""
    description: str
    """What is wrong with it, for people."""


class RoutingError(Exception):
    """A call that gave no decision. Catch this one to catch all.

    Args:
        message: What is wrong, for people.
        code: The gRPC status code; each subclass has its usual one as the default.
        reason: The name of an `ErrorReason` of the protos without its prefix, for example `THRESHOLD_OUT_OF_RANGE`;
            None when whoever failed was not the service (a proxy, the connection, the deadline on this side).
        field_violations: The request's fields that are at fault.
        metadata: Facts that go with the reason, for example `{"router": "sttic", "nearest": "static"}`.
        retry_after: Seconds after which trying again may help, at least 0; None when the service says nothing of it.
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
        """The first field at fault, or None."""
        return self.field_violations[0].field if self.field_violations else None

    def __str__(self) -> str:
        return f"{self.message} ({self.code.name}{f', {self.reason}' if self.reason else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments alone; without this, process pools would lose the rest.
        return type(self), (self.message,), self.__dict__


class InvalidRequestError(RoutingError):
    """The request is wrong. `field` and `field_violations` say where."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class ModelNameError(InvalidRequestError, ValueError):
    """A model string that begins with `router-` and is none of the forms in `routing_client.model_names`."""


class NotFoundError(RoutingError):
    """The server has no router, policy or model of that name; `metadata["nearest"]` may name one that it has."""

    default_code = grpc.StatusCode.NOT_FOUND


class FailedPreconditionError(RoutingError):
    """The server is in no state to do that, for example `ROUTER_NOT_CALIBRATED`."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class AccessDeniedError(RoutingError):
    """The server does not know the caller, or does not let it do that."""

    default_code = grpc.StatusCode.UNAUTHENTICATED


class NotImplementedByServerError(RoutingError):
    """The server does not offer the method: it is older than the client, or something else listens there."""

    default_code = grpc.StatusCode.UNIMPLEMENTED


class RouterFailedError(RoutingError):
    """The service took the request and failed at it. An outage."""

    default_code = grpc.StatusCode.INTERNAL


class UnavailableError(RoutingError):
    """No answer, or none of the service's: refused, unresolvable, reset, draining, a proxy's error. An outage."""

    default_code = grpc.StatusCode.UNAVAILABLE


class OverloadedError(UnavailableError):
    """The server has as much work as it accepts. An outage; try again after a pause."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceededError(UnavailableError):
    """The deadline passed before there was an answer. An outage."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


OUTAGES = (UnavailableError, RouterFailedError)
"""What `on_unavailable` covers."""
