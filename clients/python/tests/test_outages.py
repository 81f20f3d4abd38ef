"""An outage of the router is never an outage of the caller: every way to be out, on both clients."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from routing_client import (
    DeadlineExceededError,
    DecisionReason,
    DecisionRequest,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    RouterFailedError,
    RoutingError,
    Tier,
    UnavailableError,
)
from routing_client.proto import item_error_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.testing import fake_server

Fixture = Callable[..., Any]
Code = grpc.StatusCode
UNAVAILABLE = (Code.UNAVAILABLE, "draining", None)
SECRET = "the quick brown secret"


def with_reason(code: Code, reason: str) -> tuple[Code, str, bytes]:
    made = status_pb2.Status(code=code.value[0], message="sentence")
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="llmrouting.v1"))
    return code, "sentence", made.SerializeToString()


@pytest.fixture
def refused() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def babbling() -> Iterator[str]:
    """An address that answers, but in no language of ours."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def babble() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_retry_succeeds_without_the_callers_help(scripted: Any, make_client: Fixture, decided: Fixture) -> None:
    scripted.on("Decide", UNAVAILABLE, UNAVAILABLE, pb.DecideResponse(decision=decided()))
    assert make_client(scripted.target, timeout=10).decide("hello").model == "big"
    assert scripted.attempts["Decide"] == 3


def test_a_batch_is_retried(scripted: Any, make_client: Fixture, echo_batch: Fixture) -> None:
    scripted.on("BatchDecide", UNAVAILABLE, echo_batch)
    assert make_client(scripted.target).decide_batch(["a"])[0].model == "a"
    assert scripted.attempts["BatchDecide"] == 2


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_attempts_are_bounded(max_attempts: int, scripted: Any, make_client: Fixture) -> None:
    scripted.on("Decide", UNAVAILABLE)
    with pytest.raises(UnavailableError):
        make_client(scripted.target, timeout=10, max_attempts=max_attempts).decide("hello")
    assert scripted.attempts["Decide"] == max_attempts


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.UNKNOWN])
def test_only_unavailable_is_retried(code: Code, scripted: Any, make_client: Fixture) -> None:
    scripted.on("Decide", (code, "no", None))
    with pytest.raises(RoutingError):
        make_client(scripted.target).decide("hello")
    assert scripted.attempts["Decide"] == 1


def test_the_deadline_holds(scripted: Any, make_client: Fixture, slow: Fixture) -> None:
    scripted.on("Decide", slow)
    with pytest.raises(DeadlineExceededError) as caught:
        make_client(scripted.target, timeout=0.2).decide("hello")
    assert caught.value.code is Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize("where", ["refused", "black_hole", "babbling", "nowhere"])
def test_no_service_is_an_unavailable_error_or_the_clients_own_decision(
    where: str, make_client: Fixture, request: pytest.FixtureRequest
) -> None:
    target = "routing.invalid:50051" if where == "nowhere" else request.getfixturevalue(where)
    with pytest.raises(UnavailableError):
        make_client(target, timeout=0.3).decide("hello")
    decision = make_client(target, timeout=0.3, on_unavailable="weak", weak_model="small").decide("hello")
    assert (decision.model, decision.tier, decision.reason) == ("small", Tier.WEAK, DecisionReason.UNAVAILABLE)
    assert decision.fallback_reason in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


def test_a_black_hole_is_soon_known_for_one(black_hole: str, make_client: Fixture) -> None:
    # gRPC gives a connection that stays silent 20 s, in which every call would wait out its deadline.
    with pytest.raises(UnavailableError) as caught:
        make_client(black_hole, timeout=15, max_attempts=1).decide("hello")
    assert caught.value.code is Code.UNAVAILABLE


SERVER = """
import sys, time
from routing_client.testing import FakeService, fake_server
def hang(text):
    print("asked", flush=True)
    time.sleep(60)
with fake_server(FakeService(hang)) as target:
    print(target, flush=True)
    sys.stdin.read()
"""


def test_a_server_killed_mid_call(make_client: Fixture) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(  # noqa: S603 (our own interpreter and program)
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        client = make_client(process.stdout.readline().strip(), timeout=20, on_unavailable="strong", strong_model="big")

        def kill_when_asked(lines: Any = process.stdout) -> None:
            lines.readline()
            process.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill_when_asked)
        killer.start()
        decision = client.decide("hello")
        killer.join()
    assert (decision.model, decision.fallback_reason) == ("big", "UNAVAILABLE")


def test_a_server_that_comes_back_is_found(refused: str, make_client: Fixture) -> None:
    client = make_client(refused, timeout=0.5, on_unavailable="weak", weak_model="small")
    assert client.decide("hello").reason is DecisionReason.UNAVAILABLE
    with fake_server(address=refused):
        assert any(client.decide("hello").reason is DecisionReason.THRESHOLD for _ in range(200))


OUT = [
    (UNAVAILABLE, UnavailableError, "UNAVAILABLE"),
    (with_reason(Code.UNAVAILABLE, "NOT_SERVING"), UnavailableError, "NOT_SERVING"),
    (with_reason(Code.RESOURCE_EXHAUSTED, "OVERLOADED"), OverloadedError, "OVERLOADED"),
    ((Code.DEADLINE_EXCEEDED, "late", None), DeadlineExceededError, "DEADLINE_EXCEEDED"),
    ((Code.UNKNOWN, "stream removed", None), UnavailableError, "UNKNOWN"),
    ((Code.CANCELLED, "stopping", None), UnavailableError, "CANCELLED"),
    ((Code.INTERNAL, "RST_STREAM", None), UnavailableError, "INTERNAL"),
    (with_reason(Code.INTERNAL, "ROUTER_FAILED"), RouterFailedError, "ROUTER_FAILED"),
]


@pytest.mark.parametrize(("answer", "error", "why"), OUT)
def test_every_outage_is_covered(
    answer: Any, error: type[RoutingError], why: str, scripted: Any, make_client: Fixture
) -> None:
    scripted.on("Decide", answer)
    with pytest.raises(error) as caught:
        make_client(scripted.target, timeout=20).decide(SECRET)
    assert type(caught.value) is error
    client = make_client(scripted.target, timeout=20, on_unavailable="strong", strong_model="big")
    strong = client.decide("hello", request_id="q")
    assert (strong.model, strong.is_strong, strong.reason) == ("big", True, DecisionReason.UNAVAILABLE)
    assert (strong.fallback_reason, strong.request_id) == (why, "q")
    assert strong.strong_win_rate is strong.threshold is None


def test_without_a_name_the_tier_s_word_stands_for_the_model(refused: str, make_client: Fixture) -> None:
    decision = make_client(refused, on_unavailable="strong", weak_model="small").decide("hello")
    assert (decision.model, decision.is_strong) == ("strong", True)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.INVALID_ARGUMENT, InvalidRequestError),
        (Code.NOT_FOUND, NotFoundError),
        (Code.UNIMPLEMENTED, RoutingError),
        (Code.UNAUTHENTICATED, RoutingError),
        (Code.FAILED_PRECONDITION, RoutingError),
    ],
)
def test_a_mistake_is_raised_whatever_is_wanted_in_an_outage(
    code: Code, error: type[RoutingError], scripted: Any, make_client: Fixture
) -> None:
    scripted.on("Decide", (code, "mend this", None))
    scripted.on("BatchDecide", (code, "mend this", None))
    client = make_client(scripted.target, on_unavailable="strong", strong_model="big")
    with pytest.raises(error, match="mend this"):
        client.decide("hello")
    with pytest.raises(error, match="mend this"):
        client.decide_batch(["hello"])


def test_a_message_beyond_grpcs_limit_is_a_mistake_and_no_overload(scripted: Any, make_client: Fixture) -> None:
    client = make_client(scripted.target, timeout=30, on_unavailable="strong", strong_model="big")
    with pytest.raises(InvalidRequestError) as caught:
        client.decide("x" * (5 << 20))
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert scripted.attempts["Decide"] == 0


def test_the_calls_own_models_go_before_the_clients(refused: str, make_client: Fixture) -> None:
    client = make_client(refused, on_unavailable="strong", strong_model="big")
    assert client.decide("hello", models=("bigger", "small")).model == "bigger"
    assert client.decide("hello", models=("", "small")).model == "big"


def test_an_outage_is_logged_without_the_prompt(
    refused: str, make_client: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(refused, on_unavailable="weak", weak_model="small")
    with caplog.at_level(logging.DEBUG, logger="routing_client"):
        client.decide(SECRET)
        client.decide_batch([SECRET, SECRET, 3])
    assert [record.getMessage().partition(" answered ")[2] for record in caplog.records] == [
        "'weak' for 1 prompt(s)",
        "'weak' for 2 prompt(s)",
    ]
    assert "UNAVAILABLE" in caplog.text
    assert SECRET not in caplog.text


def test_a_batch_in_an_outage_is_answered_whole(refused: str, make_client: Fixture) -> None:
    client = make_client(refused, chunk_size=2, max_attempts=1, on_unavailable="weak", weak_model="small")
    items = ["a", 3, DecisionRequest("b", models=("big", "smaller"), request_id="q"), "c", "d"]
    results = client.decide_batch(items)
    assert isinstance(results[1], InvalidRequestError)
    decisions = [results[0], *results[2:]]
    assert {decision.reason for decision in decisions} == {DecisionReason.UNAVAILABLE}
    assert [decision.model for decision in decisions] == ["small", "smaller", "small", "small"]
    assert results[2].request_id == "q"
    with pytest.raises(UnavailableError):
        make_client(refused, max_attempts=1).decide_batch(["a"])


def test_an_outage_midway_keeps_what_was_decided_and_asks_no_further(
    scripted: Any, make_client: Fixture, echo_batch: Fixture
) -> None:
    scripted.on("BatchDecide", echo_batch, UNAVAILABLE)
    client = make_client(scripted.target, chunk_size=2, max_attempts=1, on_unavailable="weak", weak_model="small")
    results = client.decide_batch(["a", "b", "c", "d", "e", "f"])
    assert [result.model for result in results] == ["a", "b", "small", "small", "small", "small"]
    assert scripted.attempts["BatchDecide"] == 2


def test_an_items_own_outage_is_covered_too(scripted: Any, make_client: Fixture, decided: Fixture) -> None:
    overloaded = item_error_pb2.ItemError(code=code_pb2.RESOURCE_EXHAUSTED, message="busy")
    wrong = item_error_pb2.ItemError(code=code_pb2.INVALID_ARGUMENT, message="empty")
    scripted.on(
        "BatchDecide",
        pb.BatchDecideResponse(
            results=[
                pb.DecideResult(error=overloaded),
                pb.DecideResult(error=wrong),
                pb.DecideResult(decision=decided()),
            ]
        ),
    )
    raised = make_client(scripted.target).decide_batch(["a", "b", "c"])
    assert [type(result) for result in raised[:2]] == [OverloadedError, InvalidRequestError]
    covered = make_client(scripted.target, on_unavailable="strong", strong_model="big").decide_batch(["a", "b", "c"])
    assert covered[0].reason is DecisionReason.UNAVAILABLE
    assert isinstance(covered[1], InvalidRequestError)
    assert covered[2].reason is DecisionReason.THRESHOLD
