"""How the client connects, over real servers: several addresses, what is retried, and when retries pause."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from routing_client import UnavailableError
from routing_client._channel import MAX_ATTEMPTS_LIMIT, RETRIED_METHODS, channel_options, service_config
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

Fixture = Callable[..., Any]
UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "draining", None)
CANCELLED = (grpc.StatusCode.CANCELLED, "stopping", None)


class Several:
    """Servers that answer with their own number, behind one target."""

    def __init__(self, count: int, decided: Fixture, pool: ThreadPoolExecutor) -> None:
        self.servers = []
        addresses = []
        for number in range(count):
            server = grpc.server(pool)
            pb_grpc.add_RoutingServiceServicer_to_server(_Numbered(number, decided), server)
            addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            server.start()
            self.servers.append(server)
        self.target = f"ipv4:{','.join(addresses)}"


class _Numbered(pb_grpc.RoutingServiceServicer):
    def __init__(self, number: int, decided: Fixture) -> None:
        self._number, self._decided = number, decided

    def Decide(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 (the generated name)
        return pb.DecideResponse(decision=self._decided(model=str(self._number)))


@pytest.fixture
def several(decided: Fixture) -> Iterator[Several]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        made = Several(3, decided, pool)
        yield made
        for server in made.servers:
            server.stop(None).wait()


def test_calls_go_round_all_addresses_and_past_one_that_is_gone(several: Several, make_client: Fixture) -> None:
    client = make_client(several.target, timeout=20)
    seen: Counter[str] = Counter()
    for _ in range(400):  # until all three are connected
        seen[client.decide("hello").model] += 1
        if len(seen) == 3:
            break
    assert set(seen) == {"0", "1", "2"}
    turns = [client.decide("hello").model for _ in range(9)]
    assert Counter(turns) == {"0": 3, "1": 3, "2": 3}
    several.servers[1].stop(None).wait()
    after = Counter(client.decide("hello").model for _ in range(40))
    assert set(after) == {"0", "2"}
    assert min(after.values()) > 10


@pytest.mark.parametrize("answer", [UNAVAILABLE, CANCELLED], ids=["unavailable", "cancelled"])
@pytest.mark.parametrize("method", ["Decide", "ListRouters"])
def test_what_a_stopping_server_says_is_retried(
    answer: Any, method: str, scripted: Any, make_client: Fixture, decided: Fixture
) -> None:
    good = pb.DecideResponse(decision=decided()) if method == "Decide" else pb.ListRoutersResponse()
    scripted.on(method, answer, answer, good)
    client = make_client(scripted.target, timeout=20)
    client.decide("hello") if method == "Decide" else client.routers()
    assert scripted.attempts[method] == 3


def test_a_stream_is_not_retried(scripted: Any, make_client: Fixture) -> None:
    scripted.on("Calibrate", UNAVAILABLE, pb.CalibrateResponse(sample_size=1))
    with pytest.raises(UnavailableError):
        make_client(scripted.target).calibrate(["a"], strong_shares=[0.5])
    assert scripted.attempts["Calibrate"] == 1


def test_retries_pause_while_most_calls_fail_and_begin_again_once_calls_succeed(
    scripted: Any, make_client: Fixture, decided: Fixture
) -> None:
    client = make_client(scripted.target, timeout=20, max_attempts=2)

    def attempts(calls: int, *answers: Any) -> int:
        scripted.on("Decide", *answers)
        before: int = scripted.attempts["Decide"]
        for _ in range(calls):
            try:
                client.decide("hello")
            except UnavailableError:
                continue
        return int(scripted.attempts["Decide"]) - before

    good = pb.DecideResponse(decision=decided())
    assert attempts(5, UNAVAILABLE) == 10
    attempts(30, UNAVAILABLE)  # 100 tokens, one for each failure; no retry from 50 on
    assert attempts(5, UNAVAILABLE) == 5
    assert attempts(250, good) == 250  # each success earns a tenth of a token
    assert attempts(1, UNAVAILABLE, good) == 2


def test_the_service_config_is_what_grpc_expects() -> None:
    config = json.loads(service_config(3))
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert config["retryThrottling"] == {"maxTokens": 100, "tokenRatio": 0.1}
    (methods,) = config["methodConfig"]
    assert methods["name"] == [{"service": "llmrouting.v1.RoutingService", "method": name} for name in RETRIED_METHODS]
    assert methods["retryPolicy"] == {
        "maxAttempts": 3,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.2s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    served = pb.DESCRIPTOR.services_by_name["RoutingService"]
    streaming = {each.name for each in served.methods if each.client_streaming or each.server_streaming}
    assert set(RETRIED_METHODS) <= {each.name for each in served.methods} - streaming
    assert json.loads(service_config(MAX_ATTEMPTS_LIMIT))["methodConfig"][0]["retryPolicy"]["maxAttempts"] == 5


def test_a_single_attempt_has_no_retries() -> None:
    assert json.loads(service_config(1)) == {"loadBalancingConfig": [{"round_robin": {}}]}
    assert "methodConfig" in json.loads(service_config(2))


def test_the_callers_own_channel_options_go_first() -> None:
    options = dict(channel_options(2, None, [("grpc.keepalive_time_ms", 7), ("grpc.own", 1)]))
    assert (options["grpc.keepalive_time_ms"], options["grpc.own"]) == (7, 1)
    assert options["grpc.service_config"] == service_config(2)
    assert options["grpc.enable_retries"] == 1
    # A black hole is known for one, and a restarted server found, long before gRPC's own 20 and 120 seconds.
    assert options["grpc.min_reconnect_backoff_ms"] <= 1_000
    assert options["grpc.max_reconnect_backoff_ms"] <= 5_000
    assert options["grpc.keepalive_timeout_ms"] <= 5_000
