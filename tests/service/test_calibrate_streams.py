"""`Calibrate` streams that end otherwise: given up, idle, too many, or cut off by a stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from routing_service.config import LimitsConfig
from routing_service.engine import engine as engine_module
from routing_service.engine.batcher import Batcher
from routing_service.errors import DecisionError, Reason
from routing_service.observability.metrics import Metrics
from routing_service.server import calibrations
from routing_service.server.service import RoutingService
from tests.support.calibrating import NumberRouter, Serve, engine_of, refusal, stream
from tests.support.grpc_status import status_of
from tests.support.waiting import PATIENCE_SECONDS, eventually_async


class Held:
    """A stream that sends some prompts and then nothing, until it is let go."""

    def __init__(self, *prompts: str) -> None:
        self._prompts, self.let_go = prompts, asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[pb.CalibrateRequest]:
        for message in stream(*self._prompts):
            yield message
        await self.let_go.wait()


async def test_other_calls_run_while_a_long_stream_is_scored(serve_engine: Serve) -> None:
    async def endless() -> AsyncIterator[pb.CalibrateRequest]:
        yield pb.CalibrateRequest(strong_shares=[0.5])
        while True:
            yield pb.CalibrateRequest(prompts=["0.5"])

    async with serve_engine(engine_of(NumberRouter())) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        call = stub.Calibrate(endless())
        for _ in range(20):
            assert (await stub.Decide(pb.DecideRequest(prompt="0.7"), timeout=10)).decision.model == "big"
        assert not call.done()
        call.cancel()


@contextlib.asynccontextmanager
async def serving(limits: LimitsConfig) -> AsyncIterator[tuple[grpc.aio.Channel, calibrations.Calibrations]]:
    """A channel to a service, and what the service keeps of its `Calibrate` calls."""
    service = RoutingService(limits, Metrics())
    service.use(engine_of(NumberRouter()))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(service.handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield channel, service._calibrations
    finally:
        await channel.close(None)
        await server.stop(None)


async def test_a_call_too_many_is_refused_and_a_cancelled_one_makes_room() -> None:
    async with serving(LimitsConfig(max_open_calibrations=2)) as (channel, running):
        stub = pb_grpc.RoutingServiceStub(channel)
        held = [stub.Calibrate(Held("0.5")) for _ in range(2)]
        await eventually_async(lambda: len(running._streams) == 2)
        code, reason, message, metadata = await refusal(stub.Calibrate(stream("0.5")))
        assert (code, reason, metadata["limit_calibrations"]) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "OVERLOADED",
            "2",
        )
        assert "try again" in message
        held[0].cancel()
        await eventually_async(lambda: len(running._streams) == 1)
        assert (await stub.Calibrate(stream("0.5"))).sample_size == 1
        held[1].cancel()


@pytest.mark.parametrize("how", ["cancel", "deadline", "disconnect"])
async def test_a_caller_that_goes_leaves_nothing_behind(how: str) -> None:
    async with serving(LimitsConfig()) as (channel, running):
        call = pb_grpc.RoutingServiceStub(channel).Calibrate(
            Held(*["0.5"] * 100), timeout=2 if how == "deadline" else 300
        )
        ended = asyncio.ensure_future(call.code())
        await eventually_async(lambda: len(running._streams) == 1 or ended.done())
        if how == "cancel":
            call.cancel()
        elif how == "disconnect":
            await channel.close(None)
        assert await ended is not grpc.StatusCode.OK
        await eventually_async(lambda: len(running._streams) == 0)


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
    monkeypatch.setattr(engine_module, "Batcher", partial(Batcher, max_waiting=4))
    async with serve_engine(engine_of(NumberRouter(inline=False))) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*["0.5", "0.25"] * 10))
    assert answer.sample_size == 20


async def test_a_router_that_stays_busy_is_an_error_in_the_end(
    serve_engine: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "Batcher", partial(Batcher, max_waiting=0))
    monkeypatch.setattr(calibrations, "PATIENCE_SECONDS", 0.2)
    async with serve_engine(engine_of(NumberRouter(inline=False))) as channel:
        code, reason, _, metadata = await refusal(pb_grpc.RoutingServiceStub(channel).Calibrate(stream("0.5")))
    assert (code, reason, metadata["index"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "0")


async def test_before_the_artifacts_are_loaded_streams_are_unavailable(serve_engine: Serve) -> None:
    async with serve_engine(None) as channel:
        code, reason, _, _ = await refusal(pb_grpc.RoutingServiceStub(channel).Calibrate(stream("0.5")))
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")


def messages_of(*messages: pb.CalibrateRequest) -> AsyncIterator[bytes]:
    """The messages as a call receives them."""

    async def each() -> AsyncIterator[bytes]:
        for message in messages:
            yield message.SerializeToString()

    return each()


@pytest.mark.parametrize("kind", ["prompts", "conversations"])
async def test_a_prompt_at_the_limit_is_taken_and_one_byte_more_refused(kind: str) -> None:
    service, engine = calibrations.Calibrations(LimitsConfig(max_prompt_bytes=64)), engine_of(NumberRouter())

    async def answer(*texts: str) -> pb.CalibrateResponse:
        chats: list[Any] = [{"messages": [{"role": 3, "content": [{"text": text}]}]} for text in texts]
        sample: dict[str, Any] = {kind: texts if kind == "prompts" else chats}
        first = pb.CalibrateRequest(strong_shares=[0.5], **sample)
        return pb.CalibrateResponse.FromString(await service.answer(engine, messages_of(first)))

    fits = "0.5".ljust(63) + "x"
    assert (await answer(fits, fits)).sample_size == 2
    with pytest.raises(DecisionError) as caught:
        await answer(fits, fits + "x")
    error = caught.value
    assert (error.reason, error.field, error.metadata["index"]) == (Reason.PROMPT_TOO_LARGE, f"{kind}[1]", "1")
    assert error.metadata["bytes"] == "65"


@pytest.mark.parametrize("inline", [True, False])
async def test_one_turn_scores_few_characters(inline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends at its budget, before a prompt that would take it over; a longer prompt is one of its own."""
    monkeypatch.setattr(calibrations, "INLINE_CHARACTERS", 100)
    monkeypatch.setattr(calibrations, "BATCH_CHARACTERS", 1000)
    router = NumberRouter(inline=inline)
    turns: list[int] = []
    engine = engine_of(router)
    score_async = engine.score_async

    async def counting(plan: Any, texts: Any) -> Any:
        turns.append(sum(map(len, texts)))
        return await score_async(plan, texts)

    monkeypatch.setattr(engine, "score_async", counting)
    budget = 100 if inline else 1000
    prompts = ["0.5".ljust(budget // 4, " ")] * 10 + ["0.5".ljust(2 * budget, " "), "0.5"]
    service = calibrations.Calibrations(LimitsConfig())
    await service.answer(engine, messages_of(pb.CalibrateRequest(prompts=prompts, strong_shares=[0.5])))
    assert turns == [budget, budget, budget // 2, 2 * budget, 3]
    engine.close()


async def test_the_idle_clock_stands_still_while_the_server_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two messages the caller has its time; while a batch is scored there is no deadline at all."""
    service, engine = calibrations.Calibrations(LimitsConfig(calibration_idle_seconds=60)), engine_of(NumberRouter())
    deadlines: list[tuple[str, float | None]] = []
    score_async = engine.score_async

    def running() -> list[float | None]:
        return [each._clock.when() for each in service._streams._streams]

    async def noting(plan: Any, texts: Any) -> Any:
        deadlines.extend(("scoring", when) for when in running())
        return await score_async(plan, texts)

    async def messages() -> AsyncIterator[bytes]:
        for message in stream(*["0.5"] * 40):
            deadlines.extend(("waiting", when) for when in running())
            yield message.SerializeToString()

    monkeypatch.setattr(engine, "score_async", noting)
    await service.answer(engine, messages())
    waiting = [when for what, when in deadlines if what == "waiting"]
    assert [when for what, when in deadlines if what == "scoring"] == [None, None]
    assert len(waiting) == 41
    assert None not in waiting
    assert waiting == sorted(waiting, key=lambda when: when or 0)  # each message starts the clock anew
    assert waiting[0] != waiting[-1]


@pytest.mark.parametrize("inline", [True, False])
async def test_an_errors_retry_hint_reaches_the_trailers(serve_engine: Serve, inline: bool) -> None:
    router = NumberRouter(inline=inline)

    def score(texts: Any, models: Any) -> Any:
        raise DecisionError(Reason.EMBEDDER_UNAVAILABLE, "Down.", metadata={"embedder": "e"}, retry_seconds=2.5)

    router.score = score  # type: ignore[method-assign] # an embedder that is down
    async with serve_engine(engine_of(router)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pb_grpc.RoutingServiceStub(channel).Calibrate(stream("0.5"))
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_of(caught.value).details)
    assert retry.retry_delay.ToMilliseconds() == 2500


async def test_a_stream_too_many_is_told_when_to_come_again() -> None:
    async with serving(LimitsConfig(max_open_calibrations=1)) as (channel, running):
        stub = pb_grpc.RoutingServiceStub(channel)
        held = stub.Calibrate(Held("0.5"))
        await eventually_async(lambda: len(running._streams) == 1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Calibrate(stream("0.5"))
        held.cancel()
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_of(caught.value).details)
    assert retry.retry_delay.ToSeconds() == 5


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
        await eventually_async(lambda: router.scored == 64)
        if when == "while it waits":
            await eventually_async(lambda: all(each.silent_since is not None for each in service._streams._streams))
        service.drain()
    with pytest.raises(DecisionError) as caught:
        await asyncio.wait_for(answering, PATIENCE_SECONDS)
    assert caught.value.reason is Reason.NOT_SERVING
    assert not len(service._streams)
    engine.close()


async def test_a_stream_with_all_its_prompts_finishes_while_the_server_drains() -> None:
    router = NumberRouter(inline=False)
    service = calibrations.Calibrations(LimitsConfig())
    engine = engine_of(router)

    async def messages() -> AsyncIterator[bytes]:
        for message in stream(*["0.5 slow"] * 10):
            yield message.SerializeToString()

    answering = asyncio.ensure_future(service.answer(engine, messages()))
    await eventually_async(lambda: router.scored > 0)
    service.drain()
    assert pb.CalibrateResponse.FromString(await answering).sample_size == 10
    engine.close()
