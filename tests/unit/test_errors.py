from __future__ import annotations

import difflib
import doctest
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from routing_client.proto import error_reason_pb2

from routing_service import errors
from routing_service.errors import (
    ArtifactError,
    ConfigError,
    DecisionError,
    Reason,
    RoutingServiceError,
    ServerError,
    UsageError,
    nearest,
    unknown_name,
)


def test_the_reasons_are_those_of_the_protos() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - no dict
    assert {reason.value for reason in Reason} == names - {"UNSPECIFIED"}
    assert all(reason.name == reason.value for reason in Reason)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_grpc_code_that_is_an_error(reason: Reason) -> None:
    """A reason that the table lacks raises KeyError here."""
    assert DecisionError(reason, "No.").code not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.PROMPT_EMPTY, grpc.StatusCode.INVALID_ARGUMENT),
        (Reason.INVALID_UTF8, grpc.StatusCode.INVALID_ARGUMENT),
        (Reason.THRESHOLD_OUT_OF_RANGE, grpc.StatusCode.INVALID_ARGUMENT),
        (Reason.ROUTER_NOT_FOUND, grpc.StatusCode.NOT_FOUND),
        (Reason.ROUTER_NOT_CALIBRATED, grpc.StatusCode.FAILED_PRECONDITION),
        (Reason.SCORE_INVALID, grpc.StatusCode.INTERNAL),
        (Reason.NOT_SERVING, grpc.StatusCode.UNAVAILABLE),
        (Reason.OVERLOADED, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Reason.METHOD_NOT_IMPLEMENTED, grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_codes_say_whose_fault_it_is(reason: Reason, code: grpc.StatusCode) -> None:
    assert DecisionError(reason, "No.").code is code


def test_a_status_carries_reason_domain_metadata_and_the_field_at_fault() -> None:
    error = DecisionError(Reason.ROUTER_NOT_FOUND, "No router is named 'x'.", "router", {"router": "x"})
    status = error.to_status()
    assert (status.code, status.message) == (grpc.StatusCode.NOT_FOUND.value[0], "No router is named 'x'.")
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == ("ROUTER_NOT_FOUND", "llmrouting.v1", {"router": "x"})
    assert status.details[1].Unpack(bad_request)
    (violation,) = bad_request.field_violations
    assert (violation.field, violation.description) == ("router", "No router is named 'x'.")


def test_a_status_without_a_field_has_no_violations() -> None:
    assert len(DecisionError(Reason.NOT_SERVING, "Not yet.").to_status().details) == 1


def test_a_status_does_not_tell_the_cause() -> None:
    error = DecisionError(Reason.ROUTER_FAILED, "It failed.")
    error.__cause__ = ValueError("the prompt")
    assert b"the prompt" not in error.to_status().SerializeToString()


@pytest.mark.parametrize("seconds", [0.0, 0.1, 30.0])
def test_a_status_says_when_to_try_again(seconds: float) -> None:
    status = DecisionError(Reason.OVERLOADED, "Too many.", retry_seconds=seconds).to_status()
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToNanoseconds() == round(seconds * 1e9)


def test_everything_raised_on_purpose_has_one_root() -> None:
    for kind in (UsageError, ConfigError, ArtifactError, ServerError, DecisionError):
        assert issubclass(kind, RoutingServiceError)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("r.yaml", "server.workers", "is wrong", 3), "r.yaml:3: server.workers: is wrong"),
        (("r.yaml", "", "is wrong", 3), "r.yaml:3: is wrong"),
        (("r.yaml", "server", "is wrong"), "r.yaml: server: is wrong"),
    ],
)
def test_a_config_error_says_file_line_and_key(arguments: tuple[str, str, str], text: str) -> None:
    assert str(ConfigError(*arguments)) == text


def test_an_artifact_error_begins_with_the_file() -> None:
    assert str(ArtifactError(Path("a/model.onnx"), "is missing")) == "a/model.onnx is missing"


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(errors).failed == 0


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known() -> None:
    text = unknown_name("policy", "chaep", ["fast", "cheap"])
    assert "'chaep'" in text
    assert "did you mean 'cheap'?" in text
    assert text.endswith("Known: 'cheap', 'fast'.")


def test_a_name_like_no_other_gets_no_guess() -> None:
    assert unknown_name("router", "zzz", ["static"]) == "no router is named 'zzz'. Known: 'static'."
    assert unknown_name("router", "zzz", []) == "no router is named 'zzz'. Known: none."


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=5))
def test_an_unknown_name_is_one_bounded_line(name: str, known: list[str]) -> None:
    text = unknown_name("router", name, known)
    assert "\n" not in text
    assert len(text) < 1200 + sum(len(repr(n)) for n in known)  # a repr may take ten characters for one


def test_of_a_name_of_any_length_only_the_start_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def matches(name: str, *_: object, **__: object) -> list[str]:
        compared.append(name)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", matches)
    unknown_name("router", "static" * 1_000_000, ["static"])
    assert [len(name) for name in compared] == [80]


def test_a_long_name_has_a_nearest_too() -> None:
    assert nearest("x" * 100, ["static", "x" * 101]) == "x" * 101


@given(st.text(min_size=1, max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_the_nearest_name_is_a_known_one_and_a_known_name_is_its_own_nearest(name: str, known: list[str]) -> None:
    assert nearest(name, known) in {None, *known}
    assert nearest(name, [*known, name]) == name
