from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest
from routing_client import (
    Asked,
    AsyncRoutingClient,
    Decision,
    DecisionReason,
    RouterFailedError,
    RoutingClient,
    ScoreSource,
    Tier,
    Timing,
)
from routing_client.proto import decision_pb2, error_reason_pb2
from routing_client.proto import routing_service_pb2 as pb

Fixture = Callable[..., Any]


def test_a_decision_comes_back_whole(scripted: Any, make_client: Fixture, decided: Fixture) -> None:
    scripted.on("Decide", lambda request, _: pb.DecideResponse(decision=decided(request_id=request.request_id)))
    decision = make_client(scripted.target).decide("hello", threshold=0.5, request_id="q")
    assert decision == Decision(
        model="big",
        tier=Tier.STRONG,
        reason=DecisionReason.THRESHOLD,
        strong_win_rate=0.75,
        threshold=0.5,
        router="static",
        router_revision="r1",
        decision_id="d-1",
        prompt_tokens=7,
        timing=Timing(1, 0, 2, 3),
        request_id="q",
        source=ScoreSource.CACHED,
        policy="cheap",
        generation=4,
        asked=Asked(5, "ab" * 32),
    )
    assert decision.is_strong
    assert (decision.tier, decision.reason) == ("strong", "threshold")
    assert scripted.requests[0].prompt == "hello"


def test_a_fallback_has_no_numbers(scripted: Any, make_client: Fixture) -> None:
    fallback = decision_pb2.Decision(
        model="small",
        tier=decision_pb2.TIER_WEAK,
        reason=decision_pb2.DECISION_REASON_FALLBACK,
        fallback_reason=error_reason_pb2.ERROR_REASON_ROUTER_FAILED,
    )
    scripted.on("Decide", pb.DecideResponse(decision=fallback))
    decision = make_client(scripted.target).decide("hello")
    assert (decision.reason, decision.fallback_reason) == (DecisionReason.FALLBACK, "ROUTER_FAILED")
    assert decision.strong_win_rate is decision.threshold is decision.prompt_tokens is decision.timing is None
    assert not decision.is_strong


def test_what_a_newer_server_sends_is_unknown_but_no_error(scripted: Any, make_client: Fixture) -> None:
    newer = decision_pb2.Decision.FromString(
        decision_pb2.Decision(model="big").SerializeToString()
        + bytes([3 << 3, 77, 8 << 3, 78, 9 << 3, 79, 0xD8, 0x3F, 1])
    )
    scripted.on("Decide", pb.DecideResponse(decision=newer))
    decision = make_client(scripted.target).decide("hello")
    assert (decision.model, decision.tier, decision.reason) == ("big", Tier.UNKNOWN, DecisionReason.UNKNOWN)
    assert decision.fallback_reason == "UNKNOWN_79"
    assert not decision.is_strong


def test_an_answer_without_a_decision_is_the_services_failure(scripted: Any, make_client: Fixture) -> None:
    scripted.on("Decide", pb.DecideResponse())
    with pytest.raises(RouterFailedError):
        make_client(scripted.target).decide("hello")


def test_metadata_and_deadline_reach_the_server(scripted: Any, make_client: Fixture, decided: Fixture) -> None:
    scripted.on("Decide", pb.DecideResponse(decision=decided()))
    client = make_client(scripted.target, timeout=30, metadata={"authorization": "Bearer token"})
    client.decide("hello")
    client.decide("hello", timeout=90)
    assert scripted.metadata[0]["authorization"] == "Bearer token"
    # gRPC rounds a deadline up on its way.
    assert scripted.remaining[0] < 31 < 60 < scripted.remaining[1] < 91
    assert "token" not in repr(client) + repr(client._settings)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_call_without_a_deadline_is_refused(timeout: float, make_client: Fixture) -> None:
    with pytest.raises(ValueError, match="timeout"):
        make_client(timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        make_client().decide("hello", timeout=timeout)


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": ""},
        {"target": " "},
        {"target": "http://127.0.0.1:50051"},
        {"target": "HTTPS://router:50051"},
        {"on_unavailable": "weakest"},
        {"metadata": {"Authorization": "Bearer x"}},
        {"metadata": {"authorization": "Bearer x\n"}},
        {"metadata": {"authorization": b"Bearer x"}},
        {"chunk_size": 0},
        {"max_attempts": 0},
        {"max_attempts": 6},
    ],
)
def test_senseless_arguments_are_refused_at_once(arguments: dict[str, Any], make_client: Fixture) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        make_client(**arguments)


def test_a_closed_client_says_so(scripted: Any, make_client: Fixture, decided: Fixture) -> None:
    scripted.on("Decide", pb.DecideResponse(decision=decided()))
    client = make_client(scripted.target)
    client.decide("hello")
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.decide("hello")


def test_context_managers_close(scripted: Any, decided: Fixture) -> None:
    scripted.on("Decide", pb.DecideResponse(decision=decided()))
    with RoutingClient(scripted.target) as client:
        client.decide("hello")
    with pytest.raises(RuntimeError, match="closed"):
        client.decide("hello")


async def test_async_context_manager_closes(scripted: Any, decided: Fixture) -> None:
    scripted.on("Decide", pb.DecideResponse(decision=decided()))
    async with AsyncRoutingClient(scripted.target) as client:
        assert (await client.decide("hello")).is_strong
    with pytest.raises(RuntimeError, match="closed"):
        await client.decide("hello")


def test_an_async_client_says_when_it_is_in_another_loop(scripted: Any, decided: Fixture) -> None:
    scripted.on("Decide", pb.DecideResponse(decision=decided()))
    client = AsyncRoutingClient(scripted.target)
    with asyncio.Runner() as first:
        first.run(client.decide("hello"))
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="another event loop"):
            second.run(client.decide("hello"))
        first.run(client.close())


def test_threads_share_a_client(scripted: Any, echo_batch: Fixture) -> None:
    scripted.on("BatchDecide", echo_batch)
    wrong: list[str] = []
    with RoutingClient(scripted.target) as client:

        def work(name: str) -> None:
            for turn in range(20):
                [decision] = client.decide_batch([f"{name}-{turn}"])
                if not isinstance(decision, Decision) or decision.model != f"{name}-{turn}":
                    wrong.append(name)

        threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert scripted.attempts["BatchDecide"] == 160


def test_another_process_gets_a_channel_of_its_own(
    scripted: Any, decided: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.on("Decide", pb.DecideResponse(decision=decided()))
    with RoutingClient(scripted.target) as client:
        client.decide("hello")
        parents = client._channel
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            client.decide("hello")
            assert client._channel is not parents
            client.close()
        assert parents is not None
        parents.close()


async def test_a_cancelled_task_is_cancelled_and_no_outage(scripted: Any, slow: Fixture) -> None:
    scripted.on("Decide", slow)
    async with AsyncRoutingClient(scripted.target, timeout=30, on_unavailable="strong", strong_model="big") as client:
        task = asyncio.create_task(client.decide("hello"))
        while not scripted.attempts["Decide"]:  # noqa: ASYNC110 (counted in a thread of the server)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("method", ["__init__", "decide", "decide_batch", "routers", "calibrate"])
def test_both_clients_take_the_same_arguments(method: str) -> None:
    sync, asynchronous = (inspect.signature(getattr(kind, method)) for kind in (RoutingClient, AsyncRoutingClient))
    assert list(sync.parameters) == list(asynchronous.parameters)
    for name, parameter in sync.parameters.items():
        assert parameter.default == asynchronous.parameters[name].default
        assert parameter.kind == asynchronous.parameters[name].kind
