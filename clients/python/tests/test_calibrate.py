from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from routing_client import (
    AsyncRoutingClient,
    Calibration,
    ConfidenceInterval,
    FailedPreconditionError,
    InvalidRequestError,
    NotFoundError,
    NotImplementedByServerError,
)
from routing_client import CalibrationPoint as Point
from routing_client._interpolate import share_interval
from routing_client.proto import routing_service_pb2 as pb

Fixture = Callable[..., Any]


def listing(*points: tuple[float, float]) -> pb.ListRoutersResponse:
    table = pb.CalibrationTable(
        source="sample",
        sample_size=9,
        points=[pb.CalibrationPoint(strong_share=s, threshold=t, realized_share=s) for s, t in points],
    )
    return pb.ListRoutersResponse(
        routers=[
            pb.RouterInfo(name="random", type="random", revision="r0"),
            pb.RouterInfo(
                name="static", type="static", revision="r1", is_default=True, calibration=table, max_tokens=512
            ),
        ],
        policies=[pb.PolicyInfo(name="cheap", router="static", threshold=0.7)],
    )


def test_routers_and_policies(scripted: Any, make_client: Fixture) -> None:
    scripted.on("ListRouters", listing((0.5, 0.4)))
    served = make_client(scripted.target).routers()
    assert [router.name for router in served] == ["random", "static"]
    assert len(served) == 2
    assert served.default is served["static"]
    assert served["static"].max_tokens == 512
    assert served["random"].max_tokens is served["random"].calibration is None
    assert served.policies[0].threshold == 0.7
    with pytest.raises(KeyError):
        served["sttic"]


def test_calibrating_without_prompts_reads_the_table(scripted: Any, make_client: Fixture) -> None:
    scripted.on("ListRouters", listing((0.2, 0.8), (0.6, 0.4)))
    made = make_client(scripted.target).calibrate(strong_shares=[0.2, 0.4, 0, 1, 0.1, 0.8])
    assert [point.threshold for point in made.points] == pytest.approx([0.8, 0.6, 1.0, 0.0, 0.9, 0.2])
    assert [point.realized_share for point in made.points] == [0.2, None, None, None, None, None]
    low, high = share_interval(0.2, 9)
    assert made.points[0].share_interval == ConfidenceInterval(low, high)
    for point in made.points:
        assert point.threshold_interval is not None
        assert point.threshold_interval.low <= point.threshold <= point.threshold_interval.high
    assert (made.router, made.router_revision, made.sample_size) == ("static", "r1", 9)


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({"strong_shares": [0.5], "router": "random"}, FailedPreconditionError, "ROUTER_NOT_CALIBRATED"),
        ({"strong_shares": [0.5], "router": "sttic"}, NotFoundError, "ROUTER_NOT_FOUND"),
        ({"strong_shares": [0.5, 1.5]}, InvalidRequestError, "STRONG_SHARE_OUT_OF_RANGE"),
        ({"strong_shares": [float("nan")]}, InvalidRequestError, "STRONG_SHARE_OUT_OF_RANGE"),
        ({"strong_shares": []}, InvalidRequestError, None),
        ({"strong_shares": [0.5], "prompts": "one str"}, InvalidRequestError, None),
        ({"strong_shares": [0.5], "models": ("big", "small")}, InvalidRequestError, None),
        ({"strong_shares": [0.5], "prompts": ["a"], "models": "big"}, InvalidRequestError, None),
    ],
)
def test_what_cannot_be_calibrated_is_said(
    arguments: dict[str, Any], error: type[Exception], reason: str | None, scripted: Any, make_client: Fixture
) -> None:
    scripted.on("ListRouters", listing((0.5, 0.4)))
    with pytest.raises(error) as caught:
        make_client(scripted.target).calibrate(**arguments)
    assert getattr(caught.value, "reason", None) == reason


def test_calibrating_on_prompts_streams_them(scripted: Any, make_client: Fixture) -> None:
    scripted.on(
        "Calibrate",
        pb.CalibrateResponse(
            router="static",
            sample_size=3,
            resolution=0.25,
            points=[
                pb.CalibrationPoint(
                    strong_share=0.5,
                    threshold=0.4,
                    realized_share=0.3,
                    share_interval={"low": 0.1, "high": 0.9},
                    threshold_interval={"low": 0.2, "high": 0.8},
                    tied_share=0.0,
                ),
                pb.CalibrationPoint(strong_share=0.6, threshold=0.3),
            ],
        ),
    )
    made = make_client(scripted.target).calibrate(
        (str(number) for number in range(3)), strong_shares=[0.5, 0.6], router="static", models=("big", "")
    )
    assert made == Calibration(
        "static",
        "",
        3,
        (
            Point(0.5, 0.4, 0.3, ConfidenceInterval(0.1, 0.9), ConfidenceInterval(0.2, 0.8), 0.0),
            Point(0.6, 0.3, None, None, None, None),
        ),
        0.25,
    )
    first, *rest = scripted.requests[0]
    assert (first.router, list(first.strong_shares), list(first.prompts)) == ("static", [0.5, 0.6], [])
    assert (first.models.strong, first.models.weak) == ("big", "")
    assert [list(message.prompts) for message in rest] == [["0"], ["1", "2"]]


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_prompts_are_gathered_unless_they_come_slowly(
    scripted: Any, make_client: Fixture, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("routing_client._prompt_stream.monotonic", lambda: next(clock) * seconds)
    scripted.on("Calibrate", pb.CalibrateResponse(sample_size=200))
    prompts = [*(str(number) for number in range(200)), "x" * 40_000, "y" * 40_000, "z" * 300_000]
    make_client(scripted.target).calibrate(iter(prompts), strong_shares=[0.5])
    sent = [list(message.prompts) for message in scripted.requests[0][1:]]
    assert [prompt for message in sent for prompt in message] == prompts
    sizes = [len(message) for message in sent]
    assert sizes == ([1] * 203 if seconds else [1, 64, 64, 64, 8, 1, 1])


def test_chats_are_sent_so_that_an_errors_index_is_the_callers(
    scripted: Any, make_client: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server counts a message's prompts before its conversations."""
    monkeypatch.setattr("routing_client._prompt_stream.monotonic", lambda: 0.0)
    scripted.on("Calibrate", pb.CalibrateResponse(sample_size=6))
    image = {"type": "image_url", "image_url": {"url": "data:..."}}
    chats = [
        [{"role": "user", "content": [image, {"type": "text", "text": text}]}] for text in ("c", "e", "f" * 70_000)
    ]
    items = ["a", "b", chats[0], "d", chats[1], chats[2]]
    make_client(scripted.target).calibrate(items, strong_shares=[0.5])
    sent = scripted.requests[0][1:]
    order = [
        text
        for message in sent
        for text in (*message.prompts, *(each.messages[0].content[1].text for each in message.conversations))
    ]
    assert order == ["a", "b", "c", "d", "e", "f" * 70_000]
    shapes = [(len(message.prompts), len(message.conversations)) for message in sent]
    assert shapes == [(1, 0), (1, 1), (1, 1), (0, 1)]
    assert sent[1].conversations[0].messages[0].content[0].other.kind == "image_url"


async def test_calibrating_takes_an_async_iterable(scripted: Any) -> None:
    async def prompts() -> Any:
        yield "a"
        yield "b"

    scripted.on("Calibrate", pb.CalibrateResponse(sample_size=2))
    async with AsyncRoutingClient(scripted.target) as client:
        assert (await client.calibrate(prompts(), strong_shares=[0.5])).sample_size == 2
    assert [prompt for message in scripted.requests[0] for prompt in message.prompts] == ["a", "b"]


def test_an_error_of_the_callers_own_iterator_is_raised_as_it_is(scripted: Any, make_client: Fixture) -> None:
    def broken() -> Any:
        yield "a"
        raise LookupError("my file is gone")

    scripted.on("Calibrate", pb.CalibrateResponse())
    client = make_client(scripted.target)
    with pytest.raises(LookupError, match="my file"):
        client.calibrate(broken(), strong_shares=[0.5])
    with pytest.raises(InvalidRequestError, match="must hold strs"):
        client.calibrate(["a", 3], strong_shares=[0.5])
    with pytest.raises(InvalidRequestError) as caught:
        client.calibrate(["a", [{"role": "robot", "content": "b"}]], strong_shares=[0.5])
    assert caught.value.reason == "ROLE_INVALID"


def test_a_server_without_the_method_says_so(scripted: Any, make_client: Fixture) -> None:
    scripted.on("Calibrate", (grpc.StatusCode.UNIMPLEMENTED, "not yet", None))
    with pytest.raises(NotImplementedByServerError):
        make_client(scripted.target).calibrate(["a"], strong_shares=[0.5])
