"""`Calibrate` through a real channel: what it answers, and what is wrong with a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from routing_client import AsyncRoutingClient, InvalidRequestError, RoutingClient
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, open_artifact
from routing_service.artifacts.manifest import CalibrationTable
from routing_service.calibration.distribution import ScoreDistribution
from routing_service.calibration.tables import SavedTable, write_table
from routing_service.config import LimitsConfig
from routing_service.models import ModelPair
from routing_service.server import calibrations
from tests.support.calibrating import SECRET, NumberRouter, Serve, engine_of, refusal, refusal_while_sending, stream
from tests.support.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.support.services import ServiceProcess, StartService

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
    assert [point.realized_share for point in answer.points] == pytest.approx([0.2, 1, 0, 0.2])
    assert [point.tied_share for point in answer.points] == pytest.approx([0, 0, 0, 0.001])
    first = answer.points[0]
    assert first.share_interval.low == pytest.approx(0.1764, abs=1e-4)
    assert first.share_interval.high == pytest.approx(0.2259, abs=1e-4)
    assert first.threshold_interval.low < 0.7995 < first.threshold_interval.high
    assert router.max_batch <= 64


async def test_the_first_message_may_carry_a_prompt_and_others_repeat_its_settings(serve_engine: Serve) -> None:
    settings: dict[str, Any] = {"router": "static", "strong_shares": [0.5], "models": {"strong": "big"}}
    messages = [pb.CalibrateRequest(prompts=[prompt], **settings) for prompt in ("0.2", "0.8")]
    async with serve_engine(engine_of(NumberRouter())) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(iter([*messages, pb.CalibrateRequest()]))
    assert (answer.sample_size, answer.points[0].threshold) == (2, 0.5)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("size", [1, 7, 200])
async def test_how_prompts_are_spread_over_messages_makes_no_difference(
    serve_engine: Serve, inline: bool, size: int
) -> None:
    prompts = [f"{number / 200}" for number in range(200)]
    messages = [pb.CalibrateRequest(prompts=prompts[i : i + size]) for i in range(0, 200, size)]
    messages[0].strong_shares.append(0.25)
    router = NumberRouter(inline=inline)
    async with serve_engine(engine_of(router)) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(iter(messages))
    assert (answer.sample_size, answer.points[0].threshold) == (200, pytest.approx(0.7475))
    assert router.max_batch <= (32 if inline else 64)


async def test_prompts_that_come_again_count_again(serve_engine: Serve) -> None:
    router = NumberRouter()
    async with serve_engine(engine_of(router)) as channel:
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*["0.5"] * 30, *["0.9"] * 10, shares=[0.3]))
    assert (answer.sample_size, router.scored) == (40, 40)
    point = answer.points[0]
    assert (point.realized_share, point.tied_share) == (0.25, 0.75)


def chat(*texts: str, role: int = 3) -> Any:
    """A conversation whose newest user message has these text parts."""
    newer = {"role": 4, "content": [{"text": "an answer"}]}
    return {"messages": [{"role": role, "content": [{"text": text} for text in texts]}, newer]}


@pytest.mark.parametrize("inline", [True, False])
async def test_conversations_count_as_the_text_that_is_read_of_them(serve_engine: Serve, inline: bool) -> None:
    scores = [f"{number / 100}" for number in range(100)]
    mixed = [
        pb.CalibrateRequest(prompts=scores[i : i + 5], conversations=[chat(s, "more") for s in scores[i + 5 : i + 10]])
        for i in range(0, 100, 10)
    ]
    mixed[0].strong_shares.append(0.25)
    router = NumberRouter(inline=inline)
    async with serve_engine(engine_of(router)) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        answer = await stub.Calibrate(iter(mixed))
        assert answer == await stub.Calibrate(stream(*scores, shares=[0.25]))
    assert (answer.sample_size, router.scored) == (100, 200)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_client_s_chats_are_calibrated_on(service: ServiceProcess, kind: str) -> None:
    prompts = [f"Prove theorem number {n}." for n in range(150)]
    chats = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}] for text in prompts]
    items = [chats[n] if n % 3 else text for n, text in enumerate(prompts)]

    async def calibrate_async(sample: list[Any]) -> Any:
        async with AsyncRoutingClient(service.address) as client:
            return await client.calibrate(sample, strong_shares=[0.3])

    if kind == "sync":
        with RoutingClient(service.address) as client:
            assert client.calibrate(items, strong_shares=[0.3]) == client.calibrate(prompts, strong_shares=[0.3])
    else:
        assert asyncio.run(calibrate_async(items)) == asyncio.run(calibrate_async(prompts))


def test_the_shipped_router_calibrates_a_client_s_prompts(service: ServiceProcess) -> None:
    words = ["Prove", "Hello", "Why", "Translate", "Summarise"]
    with RoutingClient(service.address) as client:
        # Words, since numbers that begin alike are alike to the router.
        asks = (" ".join(words[n // 5**place % 5] for place in range(4)) for n in range(500))
        made = client.calibrate(asks, strong_shares=[0.3, 0.6])
        assert (made.router, made.sample_size, made.resolution) == ("static", 500, 0)
        for point in made.points:
            assert point.realized_share == pytest.approx(point.strong_share, abs=0.01)
            assert point.share_interval is not None
            assert point.threshold_interval is not None
            assert point.threshold_interval.low <= point.threshold <= point.threshold_interval.high
        chance = client.calibrate((str(n) for n in range(500)), strong_shares=[0.3], router="random")
        assert chance.points[0].threshold == pytest.approx(0.7, abs=0.1)
        table = client.calibrate(strong_shares=[0.3])
        assert table.points[0].share_interval is not None
        assert table.points[0].realized_share == pytest.approx(0.3, abs=0.01)


async def test_a_long_stream_is_held_in_little_memory(serve_engine: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrations, "ScoreDistribution", lambda: ScoreDistribution(max_distinct=40))
    async with serve_engine(engine_of(NumberRouter())) as channel:
        prompts = [str(score) for score in np.random.default_rng(0).random(5000)]
        answer = await pb_grpc.RoutingServiceStub(channel).Calibrate(stream(*prompts, shares=[0.25]))
    assert answer.resolution == 2.0**-5
    threshold = answer.points[0].threshold
    assert threshold % answer.resolution == 0
    assert answer.points[0].realized_share == np.mean(np.asarray(prompts, float) >= threshold)


# --- wrong streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason", "says"),
    [
        ([], "CALIBRATION_EMPTY", "no prompt"),
        ([pb.CalibrateRequest(strong_shares=[0.5])], "CALIBRATION_EMPTY", "ListRouters"),
        ([pb.CalibrateRequest(prompts=["0.5"])], "STRONG_SHARES_MISSING", "strong_shares"),
        ([pb.CalibrateRequest(strong_shares=[0.5, 1.5])], "STRONG_SHARE_OUT_OF_RANGE", "strong_shares[1]"),
        ([pb.CalibrateRequest(strong_shares=[float("nan")])], "STRONG_SHARE_OUT_OF_RANGE", "nan"),
        ([pb.CalibrateRequest(strong_shares=[0.5] * 9)], "BATCH_TOO_LARGE", "more than 8"),
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
        (pb.CalibrateRequest(prompts=[""]), "PROMPT_EMPTY", "empty"),
        (pb.CalibrateRequest(prompts=[" \n"]), "PROMPT_EMPTY", "empty"),
        (pb.CalibrateRequest(prompts=["0.5" + " " * 100]), "PROMPT_TOO_LARGE", "64"),
        (pb.CalibrateRequest(prompts=["nan"]), "SCORE_INVALID", "no probability"),
        (pb.CalibrateRequest(prompts=["1.5"]), "SCORE_INVALID", "no probability"),
        (pb.CalibrateRequest(prompts=[f"raise {SECRET}"]), "ROUTER_FAILED", "failed"),
        (pb.CalibrateRequest(prompts=["0.5"] * 70 + [""]), "PROMPT_EMPTY", "`prompts[70]` is empty"),
        (pb.CalibrateRequest(prompts=["0.5"], conversations=[chat("0.5"), chat("")]), "NO_USER_TURN", "text"),
        (pb.CalibrateRequest(conversations=[chat("0.5", role=0)]), "ROLE_INVALID", "conversations[0].messages[0].role"),
        (pb.CalibrateRequest(conversations=[chat("0.5" + " " * 100)]), "PROMPT_TOO_LARGE", "`conversations[0]`"),
        (pb.CalibrateRequest(conversations=[chat("0.5"), chat("nan")]), "SCORE_INVALID", "no probability"),
        (pb.CalibrateRequest(prompts=["0.5"], router="other"), "SETTINGS_CHANGED", "`router`"),
        (pb.CalibrateRequest(prompts=["0.5"], strong_shares=[0.4]), "SETTINGS_CHANGED", "`strong_shares`"),
        (pb.CalibrateRequest(prompts=["0.5"], models={"strong": "big"}), "SETTINGS_CHANGED", "`models`"),
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
        _, told, message, metadata = await refusal_while_sending(lambda: stub.Calibrate(iter(messages)))
        place = max(0, len(bad.prompts) + len(bad.conversations) - 1)
        assert (told, metadata["index"]) == (reason, str(before + place))
        assert says in message
        assert (await stub.Calibrate(stream("0.5"))).sample_size == 1


# Two prompts, and two conversations of which the second's text is not UTF-8.
BAD_CHAT = (
    pb.CalibrateRequest(prompts=["0", "1"], conversations=[chat("0"), chat("BAD!")])
    .SerializeToString()
    .replace(b"BAD!", b"\xff\xfe\xc3\x28")
)


@pytest.mark.parametrize(
    ("raw", "reason", "index"),
    [
        (b"\x1a\x02\xff\xfe", "INVALID_UTF8", "2"),
        (b"\x1a\x010\x1a\x010\x1a\x02\xff\xfe", "INVALID_UTF8", "4"),
        (BAD_CHAT, "INVALID_UTF8", "5"),
        (b"\x0a\xff", "MALFORMED_REQUEST", "2"),
    ],
)
async def test_bytes_that_are_no_message_are_named_by_their_index(
    serve_engine: Serve, raw: bytes, reason: str, index: str
) -> None:
    async with serve_engine(engine_of(NumberRouter())) as channel:
        call = channel.stream_unary("/llmrouting.v1.RoutingService/Calibrate")
        good = [message.SerializeToString() for message in stream("0.5", "0.5")]
        _, told, _, metadata = await refusal(call(iter([*good, raw])))
    assert (told, metadata["index"]) == (reason, index)


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
    asked_on, let_go = asyncio.Event(), asyncio.Event()

    async def prompts(first: str) -> AsyncIterator[str]:
        try:
            yield first
            asked_on.set()
            await asyncio.Event().wait()
        finally:
            let_go.set()

    async with AsyncRoutingClient(service.address) as client:
        with pytest.raises(InvalidRequestError):
            await asyncio.wait_for(client.calibrate(prompts(" "), strong_shares=[0.5]), PATIENCE_SECONDS)
        asked_on.clear()
        let_go.clear()
        task = asyncio.ensure_future(client.calibrate(prompts("hello"), strong_shares=[0.5]))
        await asyncio.wait_for(asked_on.wait(), PATIENCE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(let_go.wait(), PATIENCE_SECONDS)


def test_a_table_of_one_s_own_is_listed_and_in_force(start_service: StartService, tmp_path: Path) -> None:
    manifest = open_artifact(DEFAULT_ARTIFACT, "static").manifest
    table = SavedTable(
        "static",
        manifest.revision,
        ModelPair("a", "b"),
        CalibrationTable("last week's traffic", 500, (0.0, 0.25, 0.5)),
    )
    write_table(tmp_path / "own.json", table)
    service = start_service(
        config=f"routers: {{static: {{type: static, calibration: '{tmp_path / 'own.json'}'}}}}\n"
        "policies: {cheap: {strong_share: 0.2}}"
    )
    with RoutingClient(service.address) as client:
        served = client.routers()
        listed = served["static"].calibration
        assert listed is not None
        assert (listed.source, listed.sample_size) == ("last week's traffic", 500)
        assert listed.threshold_for(0.5) == pytest.approx(0.25)
        assert listed.points[49].realized_share == pytest.approx(0.5)
        assert served.policies[0].threshold == pytest.approx(0.4)
        assert client.decide("hello", strong_share=0.8).threshold == pytest.approx(0.1)
        assert client.decide("hello", policy="cheap").threshold == pytest.approx(0.4)
        assert client.decide("hello").threshold == pytest.approx(0.25)
