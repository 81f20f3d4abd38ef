"""All errors of this package, and the one table from a reason to its gRPC code.

    RoutingServiceError
    ├── UsageError       a command's arguments or input files are wrong
    ├── ConfigError      a configuration is wrong; says file, line and key
    ├── ArtifactError    a router's folder cannot be trusted or read; says which file
    ├── ServerError      the server cannot start, e.g. its port is taken
    └── DecisionError    no decision for this request; says reason, field and what to do

A `DecisionError` has a message for the caller. Its cause is `__cause__`, which goes to the log only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc
    from google.rpc.status_pb2 import Status

ERROR_DOMAIN = "llmrouting.v1"
# How much of an unknown name is compared, in characters: anyone may send a megabyte.
_COMPARED = 80


class Reason(StrEnum):
    """Why there is no decision: `ErrorReason` of `protos/llmrouting/v1/error_reason.proto` without its prefix."""

    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_UTF8 = "INVALID_UTF8"
    INPUT_MISSING = "INPUT_MISSING"
    INPUT_AMBIGUOUS = "INPUT_AMBIGUOUS"
    PROMPT_EMPTY = "PROMPT_EMPTY"
    PROMPT_TOO_LARGE = "PROMPT_TOO_LARGE"
    NO_USER_TURN = "NO_USER_TURN"
    ROLE_INVALID = "ROLE_INVALID"
    THRESHOLD_OUT_OF_RANGE = "THRESHOLD_OUT_OF_RANGE"
    STRONG_SHARE_OUT_OF_RANGE = "STRONG_SHARE_OUT_OF_RANGE"
    POLICY_AMBIGUOUS = "POLICY_AMBIGUOUS"
    BATCH_EMPTY = "BATCH_EMPTY"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    MODELS_IDENTICAL = "MODELS_IDENTICAL"
    ID_TOO_LONG = "ID_TOO_LONG"
    STRONG_SHARES_MISSING = "STRONG_SHARES_MISSING"
    CALIBRATION_EMPTY = "CALIBRATION_EMPTY"
    SETTINGS_CHANGED = "SETTINGS_CHANGED"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    ROUTER_NOT_FOUND = "ROUTER_NOT_FOUND"
    POLICY_NOT_FOUND = "POLICY_NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    DECISION_NOT_FOUND = "DECISION_NOT_FOUND"
    ROUTER_NOT_CALIBRATED = "ROUTER_NOT_CALIBRATED"
    NO_CANDIDATE = "NO_CANDIDATE"
    ROUTER_FAILED = "ROUTER_FAILED"
    SCORE_INVALID = "SCORE_INVALID"
    INTERNAL = "INTERNAL"
    NOT_SERVING = "NOT_SERVING"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    METHOD_NOT_IMPLEMENTED = "METHOD_NOT_IMPLEMENTED"
    EMBEDDER_UNAVAILABLE = "EMBEDDER_UNAVAILABLE"
    STREAM_IDLE = "STREAM_IDLE"
    FIELD_NOT_IMPLEMENTED = "FIELD_NOT_IMPLEMENTED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"


# The one table: the name of the grpc.StatusCode of every reason. It has no default: a new reason needs a line here.
_CODES: Mapping[Reason, str] = {
    Reason.MALFORMED_REQUEST: "INVALID_ARGUMENT",
    Reason.INVALID_UTF8: "INVALID_ARGUMENT",
    Reason.INPUT_MISSING: "INVALID_ARGUMENT",
    Reason.INPUT_AMBIGUOUS: "INVALID_ARGUMENT",
    Reason.PROMPT_EMPTY: "INVALID_ARGUMENT",
    Reason.PROMPT_TOO_LARGE: "INVALID_ARGUMENT",
    Reason.NO_USER_TURN: "INVALID_ARGUMENT",
    Reason.ROLE_INVALID: "INVALID_ARGUMENT",
    Reason.THRESHOLD_OUT_OF_RANGE: "INVALID_ARGUMENT",
    Reason.STRONG_SHARE_OUT_OF_RANGE: "INVALID_ARGUMENT",
    Reason.POLICY_AMBIGUOUS: "INVALID_ARGUMENT",
    Reason.BATCH_EMPTY: "INVALID_ARGUMENT",
    Reason.BATCH_TOO_LARGE: "INVALID_ARGUMENT",
    Reason.MODELS_IDENTICAL: "INVALID_ARGUMENT",
    Reason.ID_TOO_LONG: "INVALID_ARGUMENT",
    Reason.STRONG_SHARES_MISSING: "INVALID_ARGUMENT",
    Reason.CALIBRATION_EMPTY: "INVALID_ARGUMENT",
    Reason.SETTINGS_CHANGED: "INVALID_ARGUMENT",
    Reason.METADATA_TOO_LARGE: "INVALID_ARGUMENT",
    Reason.REQUEST_TOO_LARGE: "INVALID_ARGUMENT",
    Reason.ROUTER_NOT_FOUND: "NOT_FOUND",
    Reason.POLICY_NOT_FOUND: "NOT_FOUND",
    Reason.MODEL_NOT_FOUND: "NOT_FOUND",
    Reason.DECISION_NOT_FOUND: "NOT_FOUND",
    Reason.ROUTER_NOT_CALIBRATED: "FAILED_PRECONDITION",
    Reason.NO_CANDIDATE: "FAILED_PRECONDITION",
    Reason.ROUTER_FAILED: "INTERNAL",
    Reason.SCORE_INVALID: "INTERNAL",
    Reason.INTERNAL: "INTERNAL",
    Reason.NOT_SERVING: "UNAVAILABLE",
    Reason.OVERLOADED: "RESOURCE_EXHAUSTED",
    Reason.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    Reason.METHOD_NOT_IMPLEMENTED: "UNIMPLEMENTED",
    Reason.EMBEDDER_UNAVAILABLE: "UNAVAILABLE",
    Reason.STREAM_IDLE: "DEADLINE_EXCEEDED",
    Reason.FIELD_NOT_IMPLEMENTED: "UNIMPLEMENTED",
    Reason.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    Reason.UNAUTHENTICATED: "UNAUTHENTICATED",
    Reason.PERMISSION_DENIED: "PERMISSION_DENIED",
}


class RoutingServiceError(Exception):
    """The root of this package's errors.

    Attributes:
        exit_code: the exit code of a command that raises it.
    """

    exit_code = 1


class UsageError(RoutingServiceError):
    """A command's arguments or input files are wrong. The message says what, where, and how to correct it."""


class ConfigError(RoutingServiceError):
    """A configuration is wrong.

    Args:
        source: the file, or a name for it.
        where: the wrong key, with dots; empty for the whole.
        problem: what is wrong and how to correct it.
        line: the line in the file, from 1, if known.
    """

    def __init__(self, source: str, where: str, problem: str, line: int | None = None) -> None:
        self.source, self.where, self.problem, self.line = source, where, problem, line
        place = source if line is None else f"{source}:{line}"
        super().__init__(f"{place}: {where}: {problem}" if where else f"{place}: {problem}")


class ArtifactError(RoutingServiceError):
    """A file of an artifact is missing, corrupt, edited or of the wrong kind.

    Args:
        path: the wrong file.
        problem: what is wrong with it, as the rest of a sentence that begins with the path.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path} {problem}")


class ServerError(RoutingServiceError):
    """The server cannot start. The message says why and what to do."""


class DecisionError(RoutingServiceError):
    """There is no decision for a request.

    Args:
        reason: the machine-readable reason.
        message: one sentence for the caller: what is wrong and what to do. It never quotes a prompt.
        field: the path of the request's wrong field, empty if there is none.
        metadata: details for `ErrorInfo`.
        retry_seconds: after how long a retry may help; None if it will not help.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        retry_seconds: float | None = None,
    ) -> None:
        self.reason, self.message, self.field, self.metadata = reason, message, field, dict(metadata or {})
        self.retry_seconds = retry_seconds
        super().__init__(f"{reason}: {message}")

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code of the reason."""
        import grpc

        return grpc.StatusCode[_CODES[self.reason]]

    def to_status(self) -> Status:
        """The error as `google.rpc.Status`, with `ErrorInfo`, and `BadRequest` and `RetryInfo` where they apply."""
        from google.rpc import error_details_pb2
        from google.rpc.status_pb2 import Status

        status = Status(code=self.code.value[0], message=self.message)
        info = error_details_pb2.ErrorInfo(reason=self.reason.value, domain=ERROR_DOMAIN, metadata=self.metadata)
        status.details.add().Pack(info)
        if self.field:
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=self.field, description=self.message, reason=self.reason.value
            )
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        if self.retry_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_seconds * 1e9))
            status.details.add().Pack(retry)
        return status


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most similar to `name`, or None. Of a long name only the start is compared."""
    matches = difflib.get_close_matches(name[:_COMPARED], list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """A sentence for an unknown name: the nearest name, if any, and all names.

    >>> unknown_name("router", "sttic", ["static", "random"])
    "no router is named 'sttic'; did you mean 'static'? Known: 'random', 'static'."
    """
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"; did you mean {guess!r}?" if guess else "."
    listed = ", ".join(repr(n) for n in names) or "none"
    return f"no {kind} is named {_short(name)!r}{hint} Known: {listed}."


def _short(name: str) -> str:
    return name if len(name) <= _COMPARED else name[:_COMPARED] + "…"
