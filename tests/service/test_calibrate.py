"""`Calibrate` through a real channel: answers, wrong streams, and streams that are given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from routing_client import AsyncRoutingClient, InvalidRequestError, RoutingClient
from routing_client._gen.llmrouting.v1 import routing_service_pb2 as pb
from routing_client._gen.llmrouting.v1 import routing_service_pb2_grpc as pb_grpc

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, open_artifact
from routing_service.artifacts.manifest import Calibration
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.tables import SavedTable, write_table
from routing_service.config import Config, FallbackConfig, LimitsConfig
from routing_service.engine import batcher
from routing_service.engine.engine import Engine
from routing_service.engine.policies import Planner
from routing_service.errors import DecisionError, Reason
from routing_service.observability.metrics import Metrics
from routing_service.routers.base import ModelPair, Router, Scores
from routing_service.server import calibrations
from routing_service.server.service import RoutingService
from tests.support.grpc_status import status_of

if TYPE_CHECKING:
    from tests.conftest import ServiceProcess, StartService

SECRET = "swordfish"
Serve = Callable[..., Any]


class NumberRouter(Router):
    """The prompt is its own win rate; `raise` fails, and `slow` makes the router wait."""

    type: ClassVar[str] = "number"

    def __init__(self, *, inline: bool = True) -> None:
        super().__init__(revision="r1", models=ModelPair("big", "small"))
        self.inline = inline  # type: ignore[misc] # one class for both kinds
        self.largest_batch = self.scored = 0

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - the interface
        self.largest_batch, self.scored = max(self.largest_batch, len(texts)), self.scored + len(texts)
        if any("raise" in text for text in texts):
            raise RuntimeError(SECRET)
        if any("slow" in text for text in texts):
            time.sleep(0.05)
        return Scores([float(text.split()[0]) for text in texts], None, [False] * len(texts))


def engine_of(router: Router, on_router_error: Any = "error") -> Engine:
    routers = {"static": router}
    return Engine(routers, Planner(routers, Config()), FallbackConfig(on_router_error))


def stream(*prompts: str, shares: Sequence[float] = (0.5,), **settings: Any) -> Iterator[pb.CalibrateRequest]:
    yield pb.CalibrateRequest(strong_shares=shares, **settings)
    for prompt in prompts:
        yield pb.CalibrateRequest(prompt=prompt)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str, dict[str, str]]:
    """Code, reason, message and metadata of the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught.value).details[0].Unpack(info)
    assert SECRET not in str(caught.value)
    return caught.value.code(), info.reason, caught.value.details() or "", dict(info.metadata)


# --- answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [True, False])
async def test_thresholds_of_the_caller_s_own_prompts(serve_engine: Serve, inline: bool) -> None:
    router = NumberRouter(inline=inline)
    prompts = [f"{number / 1000}" for number in range(1000)]
    async with serve_engine(engine_of(router)) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*prompts, shares=[0.2, 1, 0, 0.2005]))
    assert (answer.router, answer.router_revision, answer.sample_size, answer.resolution) == ("static", "r1", 1000, 0)
    assert [point.strong_share for point in answer.points] == [0.2, 1, 0, 0.2005]
    assert [point.threshold for point in answer.points] == pytest.approx([0.7995, 0, 1, 0.7995], abs=1e-9)
    assert [point.realised_share for point in answer.points] == pytest.approx([0.2, 1, 0, 0.2])
    assert [point.tied_share for point in answer.points] == pytest.approx([0, 0, 0, 0.001])
    first = answer.points[0]
    assert first.share_interval.low == pytest.approx(0.1764, abs=1e-4)
    assert first.share_interval.high == pytest.approx(0.2259, abs=1e-4)
    assert first.threshold_interval.low < 0.7995 < first.threshold_interval.high
    assert router.largest_batch <= 64


async def test_the_first_message_may_carry_a_prompt_and_others_repeat_its_settings(serve_engine: Serve) -> None:
    settings: dict[str, Any] = {"router": "static", "strong_shares": [0.5], "models": {"strong": "big"}}
    messages = [pb.CalibrateRequest(prompt=prompt, **settings) for prompt in ("0.2", "0.8")]
    async with serve_engine(engine_of(NumberRouter())) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(iter([*messages, pb.CalibrateRequest()]))
    assert (answer.sample_size, answer.points[0].threshold) == (2, 0.5)


async def test_prompts_that_come_again_count_again(serve_engine: Serve) -> None:
    router = NumberRouter()
    async with serve_engine(engine_of(router)) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*["0.5"] * 30, *["0.9"] * 10, shares=[0.3]))
    assert (answer.sample_size, router.scored) == (40, 40)
    point = answer.points[0]
    assert (point.realised_share, point.tied_share) == (0.25, 0.75)


def test_the_shipped_router_calibrates_a_client_s_prompts(service: ServiceProcess) -> None:
    words = ["Prove", "Hello", "Why", "Translate", "Summarise"]
    with RoutingClient(service.address) as client:
        made = client.calibrate((f"{words[n % 5]} number {n}?" for n in range(500)), strong_shares=[0.3, 0.6])
        assert (made.router, made.sample_size, made.resolution) == ("static", 500, 0)
        for point in made.points:
            assert point.realised_share == pytest.approx(point.strong_share, abs=0.01)
            assert point.share_interval is not None
            assert point.threshold_interval is not None
            assert point.threshold_interval.low <= point.threshold <= point.threshold_interval.high
        chance = client.calibrate((str(n) for n in range(500)), strong_shares=[0.3], router="random")
        assert chance.points[0].threshold == pytest.approx(0.7, abs=0.1)
        table = client.calibrate(strong_shares=[0.3])
        assert table.points[0].share_interval is not None
        assert table.points[0].realised_share == pytest.approx(0.3, abs=0.01)


async def test_a_long_stream_is_held_in_little_memory(serve_engine: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrations, "ScoreDistribution", lambda: ScoreDistribution(max_distinct=40))
    async with serve_engine(engine_of(NumberRouter())) as channel:
        prompts = [str(score) for score in np.random.default_rng(0).random(5000)]
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*prompts, shares=[0.25]))
    assert answer.resolution == 2.0**-5
    threshold = answer.points[0].threshold
    assert threshold % answer.resolution == 0
    assert answer.points[0].realised_share == np.mean(np.asarray(prompts, float) >= threshold)


# --- wrong streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason", "says"),
    [
        ([], "CALIBRATION_EMPTY", "no prompt"),
        ([pb.CalibrateRequest(strong_shares=[0.5])], "CALIBRATION_EMPTY", "ListRouters"),
        ([pb.CalibrateRequest(prompt="0.5")], "STRONG_SHARES_MISSING", "strong_shares"),
        ([pb.CalibrateRequest(strong_shares=[0.5, 1.5])], "STRONG_SHARE_OUT_OF_RANGE", "strong_shares[1]"),
        ([pb.CalibrateRequest(strong_shares=[float("nan")])], "STRONG_SHARE_OUT_OF_RANGE", "nan"),
        ([pb.CalibrateRequest(strong_shares=[0.5] * 9)], "BATCH_TOO_LARGE", "9 shares"),
        ([pb.CalibrateRequest(strong_shares=[0.5], router="sttic")], "ROUTER_NOT_FOUND", "static"),
        (
            [pb.CalibrateRequest(strong_shares=[0.5], models={"strong": "huge"})],
            "MODEL_NOT_FOUND",
            "huge",
        ),
    ],
)
async def test_wrong_settings_are_told(serve_engine: Serve, messages: list[Any], reason: str, says: str) -> None:
    async with serve_engine(engine_of(NumberRouter()), LimitsConfig(max_batch_items=8)) as channel:
        _, told, message, _ = await refusal(pb_grpc.RoutingServiceStub(channel).Calibrate(iter(messages)))
    assert told == reason
    assert says in message


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (pb.CalibrateRequest(prompt=""), "PROMPT_EMPTY", "empty"),
        (pb.CalibrateRequest(prompt=" \n"), "PROMPT_EMPTY", "empty"),
        (pb.CalibrateRequest(prompt="0.5" + " " * 100), "PROMPT_TOO_LARGE", "64"),
        (pb.CalibrateRequest(prompt="nan"), "SCORE_INVALID", "no probability"),
        (pb.CalibrateRequest(prompt="1.5"), "SCORE_INVALID", "no probability"),
        (pb.CalibrateRequest(prompt=f"raise {SECRET}"), "ROUTER_FAILED", "failed"),
        (pb.CalibrateRequest(prompt="0.5", router="other"), "SETTINGS_CHANGED", "`router`"),
        (pb.CalibrateRequest(prompt="0.5", strong_shares=[0.4]), "SETTINGS_CHANGED", "`strong_shares`"),
        (pb.CalibrateRequest(prompt="0.5", models={"strong": "big"}), "SETTINGS_CHANGED", "`models`"),
    ],
)
@pytest.mark.parametrize("before", [0, 3, 100])
async def test_one_bad_prompt_is_named_by_its_index(
    serve_engine: Serve, bad: pb.CalibrateRequest, reason: str, says: str, before: int
) -> None:
    limits = LimitsConfig(max_prompt_bytes=64)
    async with serve_engine(engine_of(NumberRouter(), "strong"), limits) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        messages = [*stream(*["0.5"] * before), bad, *stream("0.5", "0.5")]
        _, told, message, metadata = await refusal(stub.Calibrate(iter(messages)))
        assert (told, metadata["index"]) == (reason, str(before))
        assert says in message
        assert (await stub.Calibrate(stream("0.5"))).sample_size == 1


@pytest.mark.parametrize(("raw", "reason"), [(b"\x1a\x02\xff\xfe", "INVALID_UTF8"), (b"\x0a\xff", "MALFORMED_REQUEST")])
async def test_bytes_that_are_no_message_are_named_by_their_index(serve_engine: Serve, raw: bytes, reason: str) -> None:
    async with serve_engine(engine_of(NumberRouter())) as channel:
        call = channel.stream_unary("/llmrouting.v1.RoutingService/Calibrate")
        good = [message.SerializeToString() for message in stream("0.5", "0.5")]
        _, told, _, metadata = await refusal(call(iter([*good, raw])))
    assert (told, metadata["index"]) == (reason, "2")


async def test_the_client_s_error_names_the_prompt(serve_engine: Serve, service: ServiceProcess) -> None:
    async with AsyncRoutingClient(service.address) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.calibrate(["fine", "also fine", " "], strong_shares=[0.5])
    assert (caught.value.reason, caught.value.metadata["index"]) == ("PROMPT_EMPTY", "2")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_client_pulls_prompts_as_the_server_takes_them(service: ServiceProcess, kind: str) -> None:
    """However many there are, few are in memory: an early error leaves the rest unread."""
    pulled = 0

    def endless() -> Iterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield " " if pulled == 101 else "What is the capital of France? " * 1000

    async def with_async_client() -> None:
        async with AsyncRoutingClient(service.address) as client:
            await client.calibrate(endless(), strong_shares=[0.5])

    def with_client() -> None:
        with RoutingClient(service.address) as client:
            client.calibrate(endless(), strong_shares=[0.5])

    with pytest.raises(InvalidRequestError) as caught:
        asyncio.run(with_async_client()) if kind == "async" else with_client()
    assert caught.value.metadata["index"] == "100"
    assert pulled < 2000  # gRPC holds some, at 31 kB each


async def test_an_async_client_lets_go_of_its_prompts_when_the_call_ends(service: ServiceProcess) -> None:
    let_go = asyncio.Event()

    async def prompts(first: str) -> AsyncIterator[str]:
        try:
            yield first
            await asyncio.Event().wait()
        finally:
            let_go.set()

    async with AsyncRoutingClient(service.address) as client:
        with pytest.raises(InvalidRequestError):
            await asyncio.wait_for(client.calibrate(prompts(" "), strong_shares=[0.5]), 10)
        let_go.clear()
        task = asyncio.ensure_future(client.calibrate(prompts("hello"), strong_shares=[0.5]))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(let_go.wait(), 10)


# --- streams that end otherwise -----------------------------------------------------------------------------


class Held:
    """A stream that sends some prompts and then nothing, until it is let go."""

    def __init__(self, *prompts: str) -> None:
        self._prompts, self.let_go = prompts, asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[pb.CalibrateRequest]:
        for message in stream(*self._prompts):
            yield message
        await self.let_go.wait()


async def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_other_calls_run_while_a_long_stream_is_scored(serve_engine: Serve) -> None:
    async def endless() -> AsyncIterator[pb.CalibrateRequest]:
        yield pb.CalibrateRequest(strong_shares=[0.5])
        while True:
            yield pb.CalibrateRequest(prompt="0.5")

    async with serve_engine(engine_of(NumberRouter())) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        call = stub.Calibrate(endless())
        for _ in range(20):
            assert (await stub.Decide(pb.DecideRequest(prompt="0.7"), timeout=10)).decision.model == "big"
        assert not call.done()
        call.cancel()


async def test_a_call_too_many_is_refused_and_a_cancelled_one_makes_room(serve_engine: Serve) -> None:
    async with serve_engine(engine_of(NumberRouter()), LimitsConfig(max_calibrations=2)) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        held = [stub.Calibrate(Held("0.5")) for _ in range(2)]
        await asyncio.gather(*(call.wait_for_connection() for call in held))
        await asyncio.sleep(0.2)
        code, reason, message, metadata = await refusal(stub.Calibrate(stream("0.5")))
        assert (code, reason, metadata["limit_calibrations"]) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
            "2",
        )
        assert "try again" in message
        held[0].cancel()
        deadline = time.monotonic() + 10
        while (code := await stub.Calibrate(stream("0.5")).code()) is grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert time.monotonic() < deadline
        assert code is grpc.StatusCode.OK
        held[1].cancel()


@pytest.mark.parametrize("how", ["cancel", "deadline", "disconnect"])
async def test_a_caller_that_goes_leaves_nothing_behind(how: str) -> None:
    service = RoutingService(LimitsConfig(), Metrics())
    service.use(engine_of(NumberRouter()))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(service.handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    running = service._calibrations
    try:
        call = pb_grpc.RoutingServiceStub(channel).Calibrate(
            Held(*["0.5"] * 100), timeout=0.5 if how == "deadline" else 60
        )
        ended = asyncio.ensure_future(call.code())
        await wait_until(lambda: running._running == 1)
        if how == "cancel":
            call.cancel()
        elif how == "disconnect":
            await channel.close(None)
        await wait_until(lambda: running._running == 0)
        assert not running._clocks
        assert await ended is not grpc.StatusCode.OK
    finally:
        await channel.close(None)
        await server.stop(None)


async def test_a_stream_that_sends_nothing_is_ended(serve_engine: Serve) -> None:
    async with serve_engine(engine_of(NumberRouter()), LimitsConfig(calibration_idle_seconds=0.2)) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        code, reason, message, metadata = await refusal(stub.Calibrate(Held("0.5", "0.6"), timeout=60))
        assert (code, reason, metadata["idle_seconds"]) == (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE", "0.2")
        assert "0.2 seconds" in message
        assert (await stub.Decide(pb.DecideRequest(prompt="0.7"))).decision.model == "big"


async def test_scoring_for_long_is_not_sending_nothing(serve_engine: Serve) -> None:
    limits = LimitsConfig(calibration_idle_seconds=0.1)
    async with serve_engine(engine_of(NumberRouter(inline=False)), limits) as channel:
        prompts = ["0.5 slow"] * 64 * 5
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*prompts))
    assert answer.sample_size == 320


async def test_a_busy_router_slows_a_stream_and_does_not_fail_it(
    serve_engine: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher.Batcher.__init__, "__defaults__", (4,))  # room for four prompts
    async with serve_engine(engine_of(NumberRouter(inline=False))) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*["0.5", "0.25"] * 10))
    assert answer.sample_size == 20


async def test_a_router_that_stays_busy_is_an_error_in_the_end(
    serve_engine: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher.Batcher.__init__, "__defaults__", (0,))
    monkeypatch.setattr(calibrations, "PATIENCE_SECONDS", 0.2)
    async with serve_engine(engine_of(NumberRouter(inline=False))) as channel:
        code, reason, _, metadata = await refusal(pb_grpc.RoutingServiceStub(channel).Calibrate(stream("0.5")))
    assert (code, reason, metadata["index"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "0")


async def test_before_the_artifacts_are_loaded_streams_are_unavailable(serve_engine: Serve) -> None:
    async with serve_engine(None) as channel:
        code, reason, _, _ = await refusal(pb_grpc.RoutingServiceStub(channel).Calibrate(stream("0.5")))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")


def test_a_stream_that_goes_on_does_not_hold_a_stop_up(start_service: StartService) -> None:
    service = start_service(config="server: {shutdown: {grace_seconds: 60}}")
    sent: list[int] = []

    def endless() -> Iterator[pb.CalibrateRequest]:
        yield pb.CalibrateRequest(strong_shares=[0.5])
        while True:
            sent.append(1)
            yield pb.CalibrateRequest(prompt=f"What is {len(sent)} + 2?")

    with grpc.insecure_channel(service.address) as channel:
        call = pb_grpc.RoutingServiceStub(channel).Calibrate.future(endless())
        deadline = time.monotonic() + 20
        while len(sent) < 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 20  # and not the 60 seconds that running calls may take
        error = call.exception(timeout=10)
    # With its reason, unless what the process left unread made the system reset the connection before it arrived.
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "Traceback" not in service.log


@pytest.mark.parametrize("when", ["while it waits", "while it scores", "before it begins"])
async def test_a_stream_whose_prompts_still_come_ends_when_the_server_drains(when: str) -> None:
    router = NumberRouter(inline=False)
    service, engine = calibrations.Calibrations(LimitsConfig()), engine_of(router)

    async def messages() -> AsyncIterator[bytes]:
        for message in stream(*["0.5 slow"] * 64):
            yield message.SerializeToString()
        await asyncio.Event().wait()

    if when == "before it begins":
        service.drain()
    answering = asyncio.ensure_future(service.answer(engine, messages()))
    if when != "before it begins":
        await wait_until(lambda: router.scored > 0)
        if when == "while it waits":
            await asyncio.sleep(0.3)
        service.drain()
    with pytest.raises(DecisionError) as caught:
        await asyncio.wait_for(answering, 10)
    assert caught.value.reason is Reason.NOT_SERVING
    assert not service._clocks
    engine.close()


async def test_a_stream_with_all_its_prompts_finishes_while_the_server_drains() -> None:
    router = NumberRouter(inline=False)
    service = calibrations.Calibrations(LimitsConfig())
    engine = engine_of(router)

    async def messages() -> AsyncIterator[bytes]:
        for message in stream(*["0.5 slow"] * 10):
            yield message.SerializeToString()

    answering = asyncio.ensure_future(service.answer(engine, messages()))
    await wait_until(lambda: router.scored > 0)
    service.drain()
    assert pb.CalibrateResponse.FromString(await answering).sample_size == 10
    engine.close()


def test_a_table_of_one_s_own_is_listed_and_in_force(start_service: StartService, tmp_path: Path) -> None:
    manifest = open_artifact(DEFAULT_ARTIFACT, "static").manifest
    table = SavedTable("static", manifest.revision, Calibration("last week's traffic", 500, (0.0, 0.25, 0.5)))
    write_table(tmp_path / "own.json", table)
    service = start_service(
        config=f"routers: {{static: {{type: static, calibration: {tmp_path / 'own.json'}}}}}\n"
        "policies: {cheap: {strong_share: 0.2}}"
    )
    with RoutingClient(service.address) as client:
        served = client.routers()
        listed = served["static"].calibration
        assert listed is not None
        assert (listed.source, listed.sample_size) == ("last week's traffic", 500)
        assert listed.threshold_for(0.5) == pytest.approx(0.25)
        assert listed.points[49].realised_share == pytest.approx(0.5)
        assert served.policies[0].threshold == pytest.approx(0.4)
        assert client.decide("hello", strong_share=0.8).threshold == pytest.approx(0.1)
        assert client.decide("hello", policy="cheap").threshold == pytest.approx(0.4)
        assert client.decide("hello").threshold == pytest.approx(0.25)
