"""An embedding endpoint that is slow, down, overloaded, or answers nonsense, as a caller of the service sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("httpx", reason="the extra `openai` is not installed")

from google.rpc import error_details_pb2
from routing_client.proto import decision_pb2, error_reason_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.embedding_endpoint import FakeEmbeddingsEndpoint, Request, ScriptedResponse
from tests.support.grpc_status import status_of
from tests.support.mf import export_tiny

PROMPT, KEY = "the prompt nobody may see", "sk-swordfish"
# Far above the embedder's limit of seconds, far below the endpoint's hour: what hangs fails by its deadline.
DEADLINE_SECONDS = 20.0
MAX_ATTEMPTS = 3
CONFIG = """
default_router: mf
routers:
  mf: {{type: mf, artifact: "{artifact}", embedder: e}}
embedders:
  e:
    type: openai
    model: text-embedding-3-small
    base_url: "{url}"
    api_key_env: ROUTING_TEST_KEY
    timeout_seconds: {timeout}
    attempt_timeout_seconds: {attempt_timeout}
    max_attempts: 3
    breaker_failures: {breaker_failures}
    breaker_seconds: 600.0
fallback: {{on_router_error: {fallback}}}
"""


def vectors(*rows: object) -> bytes:
    return json.dumps({"data": [{"index": i, "embedding": row} for i, row in enumerate(rows)]}).encode()


# What the endpoint does, the cause that the service names, and the most requests that one decision may cost.
FAULTS: dict[str, tuple[ScriptedResponse, str, int]] = {
    "slow": (ScriptedResponse(delay_seconds=3600.0), "timeout", 1),
    "drops the connection": (ScriptedResponse(close=True), "connection", MAX_ATTEMPTS),
    "429": (ScriptedResponse(429, b"{}"), "http_429", MAX_ATTEMPTS),
    "429 for a minute": (ScriptedResponse(429, b"{}", {"Retry-After": "60"}), "http_429", 1),
    "500": (ScriptedResponse(500, b"oops"), "http_500", MAX_ATTEMPTS),
    "401": (ScriptedResponse(401, b"{}"), "http_401", 1),
    "garbage": (ScriptedResponse(body=b"<html>hello</html>"), "invalid_answer", 1),
    "nothing": (ScriptedResponse(body=b""), "invalid_answer", 1),
    "wrong dimension": (ScriptedResponse(body=vectors([1.0] * 7)), "wrong_dimension", 1),
    "NaN": (ScriptedResponse(body=vectors([float("nan")] * 8)), "invalid_answer", 1),
    "infinity": (ScriptedResponse(body=vectors([1e999] * 8)), "invalid_answer", 1),
    "too many vectors": (ScriptedResponse(body=vectors([1.0] * 8, [1.0] * 8)), "invalid_answer", 1),
}


@pytest.fixture
def endpoint() -> Iterator[FakeEmbeddingsEndpoint]:
    with FakeEmbeddingsEndpoint(
        {PROMPT: [1.0] * 8, **{f"{PROMPT} {i}": [float(i + 1)] * 8 for i in range(200)}}
    ) as running:
        yield running


@pytest.fixture
def serve(
    tmp_path: Path, endpoint: FakeEmbeddingsEndpoint, start_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setenv("ROUTING_TEST_KEY", KEY)

    def start(fallback: str, breaker_failures: int = 1000, url: str = "", timeout: float = 4.0) -> Any:
        folder = export_tiny(tmp_path / "mf")
        settings = {"artifact": folder, "url": url or endpoint.base_url, "breaker_failures": breaker_failures}
        settings |= {"timeout": timeout, "attempt_timeout": timeout / 2}
        return start_service(config=CONFIG.format(fallback=fallback, **settings))

    return start


def decide(address: str, count: int = 1, prompt: str = PROMPT) -> list[pb.DecideResponse | grpc.RpcError]:
    """So many decisions at a time; an error in place of an answer."""
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(count) as threads:
        stub = pb_grpc.RoutingServiceStub(channel)

        def one(_: int) -> pb.DecideResponse | grpc.RpcError:
            try:
                response: pb.DecideResponse = stub.Decide(pb.DecideRequest(prompt=prompt), timeout=DEADLINE_SECONDS)
            except grpc.RpcError as error:
                return error
            return response

        return list(threads.map(one, range(count)))


def details(error: Any) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo]:
    status = status_of(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[-1].Unpack(retry)
    return info, retry


def test_without_a_fallback_each_fault_is_unavailable_and_says_when_to_retry(
    serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint
) -> None:
    service = serve("error")
    # A long hold opens the breaker, so that it must come last.
    for fault in sorted(FAULTS, key=lambda name: name == "429 for a minute"):
        answer, cause, most = FAULTS[fault]
        endpoint.requests.clear()
        endpoint.behave = lambda _, answer=answer: answer
        (error,) = decide(service.address)
        assert isinstance(error, grpc.RpcError), fault
        assert error.code() is grpc.StatusCode.UNAVAILABLE, (fault, error.code(), error.details())
        info, retry = details(error)
        assert (info.reason, info.metadata["cause"]) == ("EMBEDDER_UNAVAILABLE", cause), fault
        assert retry.retry_delay.ToTimedelta().total_seconds() > 0
        assert 1 <= len(endpoint.requests) <= most, fault
        assert PROMPT not in str(error)
    assert PROMPT not in service.log
    assert KEY not in service.log
    assert service.stop() == 0


def test_with_a_fallback_each_fault_is_a_decision_that_says_so(
    serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint
) -> None:
    service = serve("weak")
    for fault in sorted(FAULTS, key=lambda name: name == "429 for a minute"):
        answer = FAULTS[fault][0]
        endpoint.behave = lambda _, answer=answer: answer
        (response,) = decide(service.address)
        assert isinstance(response, pb.DecideResponse), (fault, response)
        decision = response.decision
        assert (decision.model, decision.reason) == ("small", decision_pb2.DECISION_REASON_FALLBACK), fault
        assert decision.fallback_reason == error_reason_pb2.ERROR_REASON_EMBEDDER_UNAVAILABLE, fault


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_prompt_that_the_endpoint_refuses_fails_nobody_else(
    serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint, status: int
) -> None:
    """Neither in its batch nor beside it, and without opening the breaker."""

    def refuse_long(request: Request) -> ScriptedResponse:
        return (
            ScriptedResponse(status, b"{}")
            if any(len(text.split()) > 512 for text in request.body["input"])
            else ScriptedResponse()
        )

    endpoint.behave = refuse_long
    long = "long " * 2000
    endpoint.vectors[long[:64]] = [1.0] * 8
    service = serve("error", breaker_failures=1, timeout=DEADLINE_SECONDS)
    with grpc.insecure_channel(service.address) as channel, ThreadPoolExecutor(16) as threads:
        stub = pb_grpc.RoutingServiceStub(channel)
        requests = [pb.DecideRequest(prompt=f"{PROMPT} {i}") for i in range(190)]
        beside = [threads.submit(stub.Decide, request, timeout=DEADLINE_SECONDS) for request in requests]
        for _ in range(3):
            batch = pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=p) for p in (PROMPT, long, f"{PROMPT} 0")])
            first, refused, last = stub.BatchDecide(batch, timeout=DEADLINE_SECONDS).results
            assert first.decision.model
            assert last.decision.model
            assert refused.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert all(call.result().decision.model for call in beside)
    assert "embedder_left_alone" not in service.log


def test_an_endpoint_that_comes_back_is_used_again(serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint) -> None:
    service = serve("error")
    endpoint.behave = lambda _: ScriptedResponse(500, b"")
    assert isinstance(decide(service.address)[0], grpc.RpcError)
    endpoint.behave = None
    (response,) = decide(service.address)
    assert isinstance(response, pb.DecideResponse)
    assert response.decision.reason == decision_pb2.DECISION_REASON_THRESHOLD
    assert endpoint.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_a_burst_against_a_dead_endpoint_is_no_storm(
    serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint
) -> None:
    """However many ask, an endpoint that fails every time is asked few times, and everybody gets an answer."""
    service = serve("error", breaker_failures=5)
    endpoint.behave = lambda _: ScriptedResponse(500, b"")
    for _ in range(4):
        for error in decide(service.address, 16):
            assert isinstance(error, grpc.RpcError)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
    # Eight requests may be on their way when the fifth failure opens the breaker, which then stays open.
    assert len(endpoint.requests) <= 5 + 8


def test_a_batch_against_a_dead_endpoint_is_no_storm(
    serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint
) -> None:
    service = serve("error")
    endpoint.behave = lambda _: ScriptedResponse(500, b"")
    with grpc.insecure_channel(service.address) as channel:
        batch = pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=f"{PROMPT} {i}") for i in range(200)])
        answer = pb_grpc.RoutingServiceStub(channel).BatchDecide(batch, timeout=DEADLINE_SECONDS)
    assert {result.error.code for result in answer.results} == {grpc.StatusCode.UNAVAILABLE.value[0]}
    parts = -(-200 // 64)
    assert len(endpoint.requests) <= MAX_ATTEMPTS * (parts + 1)


def test_where_nothing_listens_a_decision_still_comes_in_time(serve: Callable[..., Any]) -> None:
    service = serve("strong", url="http://127.0.0.1:9/v1")
    for response in decide(service.address, 8):
        assert isinstance(response, pb.DecideResponse)
        assert response.decision.model == "big"


def test_a_bad_answer_to_one_call_is_not_another_s(serve: Callable[..., Any], endpoint: FakeEmbeddingsEndpoint) -> None:
    service = serve("error")

    def odd_ones_fail(request: Request) -> ScriptedResponse:
        return ScriptedResponse(400, b"{}") if len(endpoint.requests) % 2 else ScriptedResponse()

    endpoint.behave = odd_ones_fail
    # Different prompts, as the score of one that was scored may be remembered.
    results = [decide(service.address, prompt=f"{PROMPT} {i}")[0] for i in range(6)]
    assert [isinstance(result, pb.DecideResponse) for result in results] == [False, True] * 3
