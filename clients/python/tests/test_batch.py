from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from routing_client import Decision, DecisionRequest, InvalidRequestError, NotFoundError, RouterFailedError, _flows
from routing_client.proto import item_error_pb2
from routing_client.proto import routing_service_pb2 as pb

Fixture = Callable[..., Any]


def rejection(reason: str, **metadata: str) -> tuple[grpc.StatusCode, str, bytes]:
    made = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="sentence")
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="llmrouting.v1", metadata=metadata))
    return grpc.StatusCode.INVALID_ARGUMENT, "sentence", made.SerializeToString()


def test_a_batch_keeps_order_across_chunks(scripted: Any, make_client: Fixture, echo_batch: Fixture) -> None:
    scripted.on("BatchDecide", echo_batch)
    prompts = [str(number) for number in range(11)]
    results = make_client(scripted.target, chunk_size=4).decide_batch(iter(prompts), threshold=0.5)
    assert [result.model for result in results] == prompts
    assert [len(request.requests) for request in scripted.requests] == [4, 4, 3]
    assert all(item.threshold == 0.5 for request in scripted.requests for item in request.requests)


def test_a_batch_is_split_by_bytes_and_a_huge_item_goes_alone(
    scripted: Any, make_client: Fixture, echo_batch: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_flows, "MAX_CHUNK_BYTES", 1000)
    scripted.on("BatchDecide", echo_batch)
    prompts = ["a" * 450, "b" * 450, "c" * 450, "d" * 5000, "e"]
    results = make_client(scripted.target).decide_batch(prompts)
    assert [result.model for result in results] == prompts
    assert [len(request.requests) for request in scripted.requests] == [2, 1, 1, 1]


def test_a_batch_shrinks_to_the_servers_limit(scripted: Any, make_client: Fixture, echo_batch: Fixture) -> None:
    def limited(request: Any, context: Any) -> Any:
        if len(request.requests) > 3:
            code, message, details = rejection("BATCH_TOO_LARGE", items="?", limit_items="3")
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(code, message)
        return echo_batch(request, context)

    scripted.on("BatchDecide", limited)
    prompts = [str(number) for number in range(8)]
    results = make_client(scripted.target, chunk_size=5).decide_batch(prompts)
    assert [result.model for result in results] == prompts
    assert [len(request.requests) for request in scripted.requests] == [5, 3, 3, 2]


def test_a_batch_is_split_by_messages_and_parts(
    scripted: Any, make_client: Fixture, echo_batch: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_flows, "MAX_CHUNK_MESSAGES", 10)
    scripted.on("BatchDecide", echo_batch)

    def chat(messages: int, parts: int = 1) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": "x"}] * parts}] * messages

    make_client(scripted.target).decide_batch([chat(4), chat(6), chat(1), "prompt", chat(1, 9), chat(30), chat(2, 5)])
    assert [len(request.requests) for request in scripted.requests] == [2, 3, 1, 1]


def test_a_batch_is_halved_until_the_server_takes_its_messages(
    scripted: Any, make_client: Fixture, echo_batch: Fixture
) -> None:
    def limited(request: Any, context: Any) -> Any:
        if len(request.requests) > 2 or any(item.prompt == "huge" for item in request.requests):
            code, message, details = rejection("REQUEST_TOO_LARGE", field="requests.conversation.messages", limit="9")
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(code, message)
        return echo_batch(request, context)

    scripted.on("BatchDecide", limited)
    results = make_client(scripted.target).decide_batch(["a", "b", "huge", "c", "d"])
    assert isinstance(results[2], InvalidRequestError)
    assert [result.model for result in results if isinstance(result, Decision)] == ["a", "b", "c", "d"]


def test_a_senseless_batch_limit_is_an_error_and_no_loop(scripted: Any, make_client: Fixture) -> None:
    scripted.on("BatchDecide", rejection("BATCH_TOO_LARGE", limit_items="99"))
    with pytest.raises(InvalidRequestError, match="BATCH_TOO_LARGE"):
        make_client(scripted.target).decide_batch(["a", "b"])
    assert scripted.attempts["BatchDecide"] == 1


def test_an_empty_batch_asks_nobody(make_client: Fixture) -> None:
    assert make_client("127.0.0.1:1").decide_batch([]) == []


def test_one_string_is_no_batch(make_client: Fixture) -> None:
    with pytest.raises(InvalidRequestError, match="decide"):
        make_client("127.0.0.1:1").decide_batch("hello")


def test_bad_items_are_errors_in_their_place(scripted: Any, make_client: Fixture, decided: Fixture) -> None:
    def answer(request: Any, _context: Any) -> Any:
        results = [
            pb.DecideResult(error=item_error_pb2.ItemError(code=code_pb2.NOT_FOUND, message="no such router"))
            if item.router
            else pb.DecideResult(decision=decided(model=item.prompt))
            for item in request.requests
        ]
        results[-1] = pb.DecideResult()
        return pb.BatchDecideResponse(results=results)

    scripted.on("BatchDecide", answer)
    items = ["a", 3, DecisionRequest("b", router="sttic"), [{"role": "robot"}], "c", "d"]
    results = make_client(scripted.target).decide_batch(items, threshold=0.3)
    assert [type(result) for result in results] == [
        Decision,
        InvalidRequestError,
        NotFoundError,
        InvalidRequestError,
        Decision,
        RouterFailedError,
    ]
    sent = scripted.requests[0].requests
    assert [item.prompt for item in sent] == ["a", "b", "c", "d"]
    # An item with settings of its own takes none from the call.
    assert [item.HasField("threshold") for item in sent] == [True, False, True, True]


def test_a_batch_with_only_bad_items_asks_nobody(make_client: Fixture) -> None:
    results = make_client("127.0.0.1:1").decide_batch([1, 2])
    assert [type(result) for result in results] == [InvalidRequestError, InvalidRequestError]


def test_an_answer_of_the_wrong_length_is_the_services_failure(
    scripted: Any, make_client: Fixture, decided: Fixture
) -> None:
    scripted.on("BatchDecide", pb.BatchDecideResponse(results=[pb.DecideResult(decision=decided())]))
    with pytest.raises(RouterFailedError, match="1 of 2"):
        make_client(scripted.target).decide_batch(["a", "b"])
