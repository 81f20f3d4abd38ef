from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from routing_client import exceptions as exc
from routing_client._status import DETAILS_KEY, error_from_call, error_from_item
from routing_client.proto import error_reason_pb2, item_error_pb2

Code = grpc.StatusCode


class FailedCall(grpc.RpcError):
    def __init__(self, code: Any, details: Any, trailing: Any) -> None:
        self._parts = code, details, trailing

    def code(self) -> Any:
        return self._parts[0]

    def details(self) -> Any:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return self._parts[2]


def status(code: Code, *details: Any, message: str = "sentence") -> status_pb2.Status:
    made = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        made.details.add().Pack(detail)
    return made


def error_from_status(made: status_pb2.Status) -> exc.RoutingError:
    """The exception for a call that ends with this status."""
    code = next(code for code in Code if code.value[0] == made.code)
    return error_from_call(FailedCall(code, made.message, ((DETAILS_KEY, made.SerializeToString()),)))


def info(reason: str, domain: str = "llmrouting.v1", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


EXPECTED = [
    (Code.INVALID_ARGUMENT, exc.InvalidRequestError),
    (Code.OUT_OF_RANGE, exc.InvalidRequestError),
    (Code.NOT_FOUND, exc.NotFoundError),
    (Code.FAILED_PRECONDITION, exc.FailedPreconditionError),
    (Code.UNAUTHENTICATED, exc.AccessDeniedError),
    (Code.PERMISSION_DENIED, exc.AccessDeniedError),
    (Code.UNIMPLEMENTED, exc.NotImplementedByServerError),
    (Code.RESOURCE_EXHAUSTED, exc.OverloadedError),
    (Code.DEADLINE_EXCEEDED, exc.DeadlineExceededError),
    (Code.UNAVAILABLE, exc.UnavailableError),
    (Code.UNKNOWN, exc.UnavailableError),
    (Code.CANCELLED, exc.UnavailableError),
    (Code.ABORTED, exc.UnavailableError),
    (Code.INTERNAL, exc.UnavailableError),  # without a reason of the service's: a proxy or the transport
    (Code.ALREADY_EXISTS, exc.RoutingError),
]


@pytest.mark.parametrize(("code", "expected"), EXPECTED)
def test_each_code_has_its_exception(code: Code, expected: type[exc.RoutingError]) -> None:
    error = error_from_call(FailedCall(code, "sentence", ()))
    assert type(error) is expected
    assert (error.code, error.message, error.reason) == (code, "sentence", None)
    assert type(error_from_item(item_error_pb2.ItemError(code=code.value[0], message="sentence"))) is expected


def test_what_a_peer_says_is_shown_in_one_line() -> None:
    said = 'bye\n{"event": "forged"}\x1b[2J\u2028é'
    error = error_from_status(status(Code.NOT_FOUND, info("A\nB"), message=said))
    assert str(error) == 'bye\\n{"event": "forged"}\\x1b[2J\\u2028é (NOT_FOUND, A\\nB)'
    assert error.message == said


def test_internal_with_a_reason_is_the_routers_failure() -> None:
    error = error_from_status(status(Code.INTERNAL, info("ROUTER_FAILED", router="mf")))
    assert type(error) is exc.RouterFailedError
    assert isinstance(error, exc.OUTAGES)
    assert (error.reason, error.metadata) == ("ROUTER_FAILED", {"router": "mf"})


def test_a_message_beyond_grpcs_limit_is_no_overload() -> None:
    text = "CLIENT: Sent message larger than max (7 vs. 4)"
    assert type(error_from_call(FailedCall(Code.RESOURCE_EXHAUSTED, text, ()))) is exc.InvalidRequestError
    overloaded = status(Code.RESOURCE_EXHAUSTED, info("OVERLOADED"), message=text)
    assert type(error_from_status(overloaded)) is exc.OverloadedError


def test_details_become_reason_metadata_and_violations() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="threshold", description="is NaN")
    bad.field_violations.add(field="router", description="is odd")
    made = status(Code.INVALID_ARGUMENT, info("THRESHOLD_OUT_OF_RANGE", field="threshold"), bad)
    error = error_from_call(
        FailedCall(Code.INVALID_ARGUMENT, "sentence", (("x", "y"), (DETAILS_KEY, made.SerializeToString())))
    )
    assert error.reason == "THRESHOLD_OUT_OF_RANGE"
    assert error.metadata == {"field": "threshold"}
    assert error.field == "threshold"
    assert error.field_violations == (exc.FieldViolation("threshold", "is NaN"), exc.FieldViolation("router", "is odd"))
    assert str(error) == "sentence (INVALID_ARGUMENT, THRESHOLD_OUT_OF_RANGE)"


def test_other_domains_and_unknown_details_are_passed_over() -> None:
    made = status(Code.INTERNAL, info("QUOTA", domain="googleapis.com"), error_details_pb2.RetryInfo())
    made.details.append(any_pb2.Any(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff"))
    made.details.append(any_pb2.Any(type_url="nonsense", value=b"x"))
    error = error_from_status(made)
    assert (error.reason, error.field_violations, type(error)) == (None, (), exc.UnavailableError)


@given(st.binary(max_size=80), st.sampled_from(list(Code)))
def test_garbage_details_still_give_the_codes_exception(garbage: bytes, code: Code) -> None:
    error = error_from_call(FailedCall(code, None, ((DETAILS_KEY, garbage),)))
    assert error.code is code
    assert error.message


@pytest.mark.parametrize(
    "call", [grpc.RpcError(), FailedCall(None, None, None), FailedCall(7, "", ((DETAILS_KEY, "a str"),))]
)
def test_an_error_without_parts_is_an_outage(call: grpc.RpcError) -> None:
    assert type(error_from_call(call)) is exc.UnavailableError


def test_an_unknown_code_inside_an_answer_is_an_outage() -> None:
    assert type(error_from_item(item_error_pb2.ItemError(code=99))) is exc.UnavailableError


def test_an_items_error_says_what_a_calls_error_says() -> None:
    """A call that ends with a status, and an item that carries the same, give the same exception."""
    violation = error_details_pb2.BadRequest()
    violation.field_violations.add(field="router", description="sentence")
    pause = error_details_pb2.RetryInfo()
    pause.retry_delay.FromMilliseconds(1500)
    called = error_from_status(status(Code.NOT_FOUND, info("ROUTER_NOT_FOUND", router="x"), violation, pause))
    item = item_error_pb2.ItemError(
        code=Code.NOT_FOUND.value[0],
        reason=error_reason_pb2.ERROR_REASON_ROUTER_NOT_FOUND,
        message="sentence",
        field="router",
        metadata={"router": "x"},
    )
    item.retry_delay.FromMilliseconds(1500)
    found = error_from_item(item)
    assert (type(found), vars(found)) == (type(called), vars(called))
    assert (found.retry_after, found.field) == (1.5, "router")


def test_an_items_unknown_reason_keeps_its_number() -> None:
    item = item_error_pb2.ItemError(code=Code.INTERNAL.value[0], message="sentence")
    assert (error_from_item(item).reason, error_from_item(item).retry_after) == (None, None)
    assert type(error_from_item(item)) is exc.UnavailableError
    item.reason = 9999  # type: ignore[assignment] # a newer server's
    assert error_from_item(item).reason == "UNKNOWN_9999"
    assert type(error_from_item(item)) is exc.RouterFailedError


def test_exceptions_survive_pickling() -> None:
    error = error_from_status(status(Code.NOT_FOUND, info("ROUTER_NOT_FOUND", nearest="static")))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert type(again) is exc.NotFoundError
    assert vars(again) == vars(error)
    assert str(again) == str(error)
