"""What one caller sends holds the server's event loop for at most 10 ms, and 1 ms a MiB: others wait no longer.

Each callback of the loop is timed. The machine may be busy with other things, so the processor's time counts, and the
best of some tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from asyncio import events
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from routing_client.proto import conversation_pb2
from routing_client.proto import routing_service_pb2 as pb

from routing_service.config import parse_config
from routing_service.engine.build import build_engine
from routing_service.errors import DecisionError
from routing_service.observability.metrics import Metrics
from routing_service.server.service import RoutingService

MIB = 1 << 20
LIMIT_SECONDS, LIMIT_SECONDS_PER_MIB = 0.010, 0.001
# A core that is shared, as CI's are, also computes more slowly.
SLACK = 1.5
TRIES = 12
USER = conversation_pb2.ROLE_USER
CHANCE = random.Random(7)


def prompt(text: str, size: int = 2 * MIB - 16, **fields: Any) -> bytes:
    """A text again and again, up to `size` bytes."""
    times = size // len(text.encode())
    return pb.DecideRequest(prompt=text * times, **fields).SerializeToString()


def drawn(characters: str, size: int) -> str:
    return "".join(CHANCE.choices(characters, k=size))


def messages(count: int, text: str, role: int = USER) -> bytes:
    message = {"role": role, "content": [{"text": text}]}
    return pb.DecideRequest(conversation={"messages": [message] * count}).SerializeToString()


def parts(count: int, text: str, **fields: Any) -> bytes:
    message = {"role": USER, "content": [{"text": text}] * count}
    return pb.DecideRequest(conversation={"messages": [message]}, **fields).SerializeToString()


def inside(tag: int, raw: bytes) -> bytes:
    """A field with bytes of any kind."""
    size, length = len(raw), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([tag]) + length + bytes([size]) + raw


def batch(*items: dict[str, Any]) -> bytes:
    return pb.BatchDecideRequest(requests=items).SerializeToString()


def sample(**fields: Any) -> bytes:
    return pb.CalibrateRequest(strong_shares=[0.5], **fields).SerializeToString()


CHINESE = "".join(map(chr, range(0x4E00, 0x9FA5)))
NOT_UTF8 = inside(0x0A, b"\xff")
DECIDE: dict[str, Callable[[], bytes]] = {
    "only a": lambda: prompt("a"),
    "only NULs": lambda: prompt("\0"),
    "only spaces": lambda: prompt(" "),
    "only one Chinese character": lambda: prompt("中"),
    "only emoji": lambda: prompt("😀"),
    "only opening brackets": lambda: prompt("<"),
    "only tags": lambda: prompt("<a>"),
    "only braces": lambda: prompt("{"),
    "only lines": lambda: prompt("x\n"),
    "other tags": lambda: prompt("<system-reminder>"),
    "white space before a word": lambda: prompt(" " * MIB + "a"),
    "Chinese": lambda: prompt(drawn(CHINESE, 2 * MIB // 3 - 16), size=2 * MIB - 16),
    "words that nobody knows": lambda: prompt(drawn("abcdefgh ", 2 * MIB - 16)),
    "base64": lambda: prompt(drawn("ABCDEFabcdef0123456789+/", 2 * MIB - 16)),
    "explained": lambda: prompt("中", explain=True),
    "explained parts": lambda: parts(4096, "中" * 160, explain=True),
    "explained pieces": lambda: prompt("<system-reminder>中</system-reminder>\nhi 中\n", explain=True),
    "a prompt that is too long": lambda: prompt("a", size=4 * MIB - 16),
    "a name that is too long": lambda: pb.DecideRequest(prompt="hi", router="中" * MIB).SerializeToString(),
    "an id that is too long": lambda: pb.DecideRequest(prompt="hi", request_id="中" * MIB).SerializeToString(),
    "metadata": lambda: pb.DecideRequest(
        prompt="hi", metadata={f"{i}": "中" * 300 for i in range(4000)}
    ).SerializeToString(),
    "blank messages": lambda: messages(4096, " "),
    "messages": lambda: messages(4000, "x" * 1000),
    "roles that are not known": lambda: messages(4096, "hi", role=0),
    "parts": lambda: parts(4096, "x" * 400),
    "millions of messages": lambda: inside(0x12, b"\x0a\x02\x08\x02" * 7_750_000),
    "millions of fields": lambda: b"\x08\x01" * (2 * MIB),
    "other bytes": lambda: CHANCE.randbytes(4 * MIB),
    "bad UTF-8": lambda: inside(0x0A, b"x" * (4 * MIB - 16) + b"\xff"),
    "bad UTF-8 after Chinese": lambda: inside(0x0A, "中".encode() * MIB + b"\xff"),
    "bad UTF-8 after many texts": lambda: messages(4000, "hi") + NOT_UTF8,
    "bad UTF-8 after longer texts": lambda: messages(4000, "中" * 100) + NOT_UTF8,
}
BATCH: dict[str, Callable[[], bytes]] = {
    "prompts": lambda: batch(*({"prompt": f"hi {i}"} for i in range(1024))),
    "longer prompts": lambda: batch(*({"prompt": drawn("abcde fgh", 3500)} for _ in range(96))),
    "Chinese prompts": lambda: batch(*({"prompt": drawn(CHINESE, 1000)} for _ in range(96))),
    "unknown models": lambda: batch(
        *({"prompt": "hi", "models": {"strong": f"m{i}" * 30, "weak": "w"}} for i in range(1000))
    ),
    "unknown routers": lambda: batch(*({"prompt": "hi", "router": f"r{i}" * 60} for i in range(1000))),
    "items that are not UTF-8": lambda: inside(0x0A, inside(0x0A, b"\xff" * 3000)) * 1024,
    "an item of blank messages": lambda: inside(0x0A, messages(4096, " ")),
}
CALIBRATE: dict[str, Callable[[], bytes]] = {
    "prompts": lambda: sample(prompts=[f"hi {i}" for i in range(4096)]),
    "longer prompts": lambda: sample(prompts=[drawn("abcde fgh", 1000) for _ in range(64)]),
    "conversations": lambda: sample(
        conversations=[{"messages": [{"role": USER, "content": [{"text": f"hi {i}"}]}]} for i in range(4000)]
    ),
    "shares": lambda: pb.CalibrateRequest(
        strong_shares=[i / 1000 for i in range(1001)], prompts=["hi"]
    ).SerializeToString(),
    "a blank prompt at the end": lambda: sample(prompts=[*["hi"] * 4095, " "]),
}


@pytest.fixture(scope="module")
def service() -> Iterator[RoutingService]:
    config = parse_config("models: {strong: big, weak: small}\n", "test", Path())
    engine = build_engine(config)
    service = RoutingService(config.server.limits, Metrics())
    service.use(engine)
    gc.collect()
    gc.freeze()  # as the server does
    yield service
    gc.unfreeze()
    engine.close()


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The processor's time, in seconds, of each callback that the loop has run."""
    times: list[float] = []
    run = events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        try:
            run(handle)
        finally:
            times.append(time.thread_time() - start)

    monkeypatch.setattr(events.Handle, "_run", timed)
    return times


async def answer(service: RoutingService, method: str, raw: bytes) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield raw

    with contextlib.suppress(DecisionError):  # an answer too
        if method == "calibrate":
            await service.calibrate(stream())
        else:
            await (service.decide(raw) if method == "decide" else service.batch_decide(raw))


@pytest.mark.parametrize(
    ("method", "make"),
    [
        pytest.param(method, make, id=f"{method}: {name}")
        for method, cases in (("decide", DECIDE), ("batch", BATCH), ("calibrate", CALIBRATE))
        for name, make in cases.items()
    ],
)
def test_one_caller_holds_the_loop_for_a_moment(
    service: RoutingService, longest: list[float], method: str, make: Callable[[], bytes]
) -> None:
    raw = make()
    limit = LIMIT_SECONDS + LIMIT_SECONDS_PER_MIB * len(raw) / MIB
    found: list[float] = []
    for _ in range(TRIES):
        longest.clear()
        asyncio.run(answer(service, method, raw))
        found.append(max(longest))
        if found[-1] <= SLACK * limit:
            return
    pytest.fail(f"the loop was held for {1e3 * min(found):.1f} ms; allowed: {1e3 * limit:.1f} ms")
