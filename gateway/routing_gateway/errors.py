"""What the gateway itself answers when something is wrong, in OpenAI's format, and the table from gRPC's codes to it.

Errors of an upstream are not made here: they are passed on as they came.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
from routing_client.exceptions import InvalidRequestError, RoutingError, UnavailableError
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routing_client.proxies import Proxy

INVALID_REQUEST = "invalid_request_error"
SERVER = "server_error"
RATE_LIMIT = "rate_limit_error"

_Code = grpc.StatusCode
# A decision service that refuses the gateway's credentials is no fault of the caller, whose key is another: hence 500.
_STATUSES: dict[grpc.StatusCode, tuple[int, str]] = {
    _Code.INVALID_ARGUMENT: (400, INVALID_REQUEST),
    _Code.OUT_OF_RANGE: (400, INVALID_REQUEST),
    _Code.FAILED_PRECONDITION: (400, INVALID_REQUEST),
    _Code.NOT_FOUND: (404, INVALID_REQUEST),
    _Code.RESOURCE_EXHAUSTED: (429, RATE_LIMIT),
    _Code.UNAUTHENTICATED: (500, SERVER),
    _Code.PERMISSION_DENIED: (500, SERVER),
    _Code.INTERNAL: (500, SERVER),
    _Code.DATA_LOSS: (500, SERVER),
    _Code.UNIMPLEMENTED: (501, SERVER),
    _Code.DEADLINE_EXCEEDED: (504, SERVER),
}
# Of gRPC's health protocol: somebody answers.
_HEALTH_STATUSES = frozenset({"NOT_SERVING", "SERVICE_UNKNOWN", "UNKNOWN"})
# Where the fields of a decision's request come from in a chat completion.
_PARAMS = {"router": "model", "threshold": "model", "strong_share": "model", "policy": "model", "prompt": "messages"}


class GatewayError(Exception):
    """An answer of the gateway's own.

    Args:
        status: The HTTP status.
        message: What is wrong, for people. Never holds a prompt or a key.
        kind: OpenAI's `type`.
        param: The request's field at fault.
        code: The machine-readable reason, in lower case.
        retry_after_s: Seconds after which trying again makes sense.
        headers: What else to send.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID_REQUEST,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        # Not JSONResponse: a name in the message may hold half a surrogate pair, which it cannot encode.
        body = json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        return Response(body, self.status, headers, "application/json")


def from_routing_error(error: RoutingError, params: Mapping[str, str] = _PARAMS) -> GatewayError:
    """The answer for a call that gave no decision.

    Args:
        error: What the client raised.
        params: How the decision's fields are called in the caller's request; those not named keep their name.
    """
    status, kind = _STATUSES.get(error.code, (503, SERVER))
    if isinstance(error, InvalidRequestError):
        status, kind = 400, INVALID_REQUEST  # also what gRPC itself calls RESOURCE_EXHAUSTED: too large a message
    code = error.reason or error.code.name
    field = error.field or _field_of(error)
    # Without a reason, the words are not the service's but those of gRPC about a connection.
    is_gone = isinstance(error, UnavailableError) and error.reason is None and status >= 500
    said = not_answering(error.code.name) if is_gone else error.message
    return GatewayError(
        status,
        f"routing: {said}",
        kind=kind,
        param=_param(field, params),
        code=code.lower(),
        retry_after_s=1 if status in (429, 503) else None,
    )


def not_answering(state: str, address: str | None = None, proxy: Proxy | None = None) -> str:
    """What to say of a decision service that does not answer.

    Args:
        state: A status of gRPC's, or of its health protocol.
        address: Where it should be; None where that is nobody's business.
        proxy: What the question went through.
    """
    where = "" if address is None else f" at {address}"
    if state in _HEALTH_STATUSES:
        return f"the decision service{where} is {state}"
    said = f"no decision service answers{where} ({state}); is `routing-service serve` running?"
    return said if proxy is None else f"{said} The question went through the proxy {proxy}."


def _field_of(error: RoutingError) -> str | None:
    return next((name for name in ("router", "policy") if name in error.metadata), None)


def _param(field: str | None, params: Mapping[str, str]) -> str | None:
    if field is None:
        return None
    field = field.removeprefix("conversation.")
    return params.get(field, field)
