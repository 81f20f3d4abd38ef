"""Many, slow and vanishing callers: what is held is bounded, and given back."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from routing_gateway.echo import RunningEcho

from ..conftest import GatewayProcess, MakeGateway, StartGateway
from ..scripted import ScriptedUpstream

STREAMS = 1000
HELLO = [{"role": "user", "content": "hello"}]
Eventually = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for the callers' and the upstream's ends of all streams, which are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * STREAMS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"not here: {hard} open files are allowed, and {wanted} are needed; raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def process(start_gateway: StartGateway, fake_address: str, echo: RunningEcho) -> GatewayProcess:
    return start_gateway(
        "--service", fake_address, "--base-url", echo.base_url, "--strong-model", "big", "--weak-model", "small"
    )


@pytest.mark.usefixtures("many_files")
def test_a_thousand_idle_streams(process: GatewayProcess, echo: RunningEcho, eventually: Eventually) -> None:
    for _ in range(20):
        assert process.chat(stream=True).status == 200
    files, memory = process.open_files, process.resident_kb

    async def idle() -> None:
        body = json.dumps({"model": "big#endless,pace=1000", "stream": True, "messages": HELLO}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {process.address}\r\ncontent-length: {len(body)}\r\n\r\n"
        host, port = process.address.split(":")

        async def one() -> asyncio.StreamWriter:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode() + body)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"data: ")
            return writer

        writers = await asyncio.gather(*(one() for _ in range(STREAMS)))
        assert process.metric("routing_gateway_in_flight") == STREAMS
        held = process.resident_kb - memory
        assert held < 100 * STREAMS, f"{held} KB for {STREAMS} streams"
        answer = await asyncio.to_thread(process.chat, "router-fake-0.5", "hard")
        assert answer.json()["model"] == "big", "others are served meanwhile"
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    asyncio.run(idle())
    eventually(lambda: process.metric("routing_gateway_in_flight") == 0, "all streams are over")
    eventually(lambda: echo.state.counters.open == 0, "all upstream calls are over")
    eventually(lambda: process.open_files <= files + 5, "all connections are closed")


def test_a_caller_that_reads_a_byte_a_second(
    start_gateway: StartGateway, fake_address: str, scripted: ScriptedUpstream, eventually: Eventually
) -> None:
    gateway = start_gateway("--service", fake_address, "--base-url", scripted.base_url)
    piece = b"10000\r\n" + b"x" * (1 << 16) + b"\r\n"
    sent = [0]

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(piece)
            sent[0] += len(piece)

    def is_stalled() -> bool:
        before = sent[0]
        time.sleep(0.3)
        return sent[0] == before > 0

    scripted.script = script
    memory = gateway.resident_kb
    with gateway.connect({"model": "big", "stream": True, "messages": HELLO}) as connection:
        eventually(is_stalled, "the upstream is held back")
        # What the kernel's buffers of four sockets hold is not the gateway's.
        assert gateway.resident_kb - memory < 20_000
        stalled = sent[0]
        for _ in range(3):
            assert len(connection.recv(1)) == 1
            time.sleep(1)
        assert sent[0] - stalled < 1_000_000
        assert gateway.request("GET", "/health").status == 200
        # It was held back, not given up: whoever reads on gets on.
        read = 0
        while read < stalled + 10 * len(piece):
            read += len(connection.recv(1 << 20))
        assert sent[0] > stalled
    eventually(lambda: gateway.metric("routing_gateway_in_flight") == 0, "the stream is over")


def test_nothing_is_left_behind(process: GatewayProcess, echo: RunningEcho, eventually: Eventually) -> None:
    """Rounds of everything that can happen to a request. Whatever a round leaked would be there many times over."""

    def vanish(model: str, after: int) -> None:
        with process.connect({"model": model, "stream": True, "messages": HELLO}) as connection:
            if after:
                connection.recv(after)

    def one(number: int) -> None:
        match number % 8:
            case 0:
                process.chat()
            case 1:
                process.chat(stream=True)
            case 2:
                process.chat("big#status=429")
            case 3:
                process.request("POST", "/v1/chat/completions", b"no json")
            case 4:
                vanish("big#endless,pace=0.001", 1000)
            case 5:
                vanish("big#hang", 0)
            case 6:
                with suppress(Exception):
                    process.chat("big#broken=2", stream=True)
            case 7:
                process.request("POST", "/api/decide", {"prompt": "x"})

    def settled() -> bool:
        return process.metric("routing_gateway_in_flight") == 0 and echo.state.counters.open == 0

    files, memory = [], []
    with ThreadPoolExecutor(8) as pool:
        for turn in range(8):
            list(pool.map(one, range(turn * 400, turn * 400 + 400)))
            eventually(settled, "the round is over")
            files.append(process.open_files)
            memory.append(process.resident_kb)
    assert max(files[4:]) <= max(files[:4]) + 8, files
    # The first rounds fill caches and the allocator's arenas.
    assert memory[-1] - memory[3] < 3000, memory


def test_no_task_is_left_behind(make_gateway: MakeGateway, eventually: Eventually) -> None:
    gateway = make_gateway()
    loop: list[asyncio.AbstractEventLoop] = []

    def tasks() -> int:
        async def count() -> int:
            return len(asyncio.all_tasks())

        return asyncio.run_coroutine_threadsafe(count(), loop[0]).result(10)

    loop.append(gateway.loop)
    gateway.chat()
    # The server itself, its lifespan, and this very question.
    before = tasks()
    for _ in range(20):
        gateway.chat(stream=True)
        with gateway.connect({"model": "big#endless,pace=0.001", "stream": True, "messages": HELLO}) as connection:
            connection.recv(1000)
        with gateway.connect({"model": "big#hang", "messages": HELLO}):
            pass
    eventually(lambda: gateway.state.in_flight == 0, "all requests are over")
    eventually(lambda: tasks() <= before, "their tasks are over")
    assert threading.active_count() < 100
