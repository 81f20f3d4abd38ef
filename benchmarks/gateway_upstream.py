"""An instant OpenAI-compatible upstream: only the gateway's own time is measured.

Any POST gets one fixed chat completion; with `"stream": true` a stream. Its first piece has the time at which it was
written, `t=` and nanoseconds of the machine's monotonic clock; its second piece follows later. Run as
`python -m benchmarks.gateway_upstream --ready-file F`; SIGTERM stops it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

PAUSE_S = 0.01
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_COMMON = {"id": "chatcmpl-0198f3a27c1e7d4b", "created": 1_700_000_000, "model": "gpt-4.1"}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "The capital of France is Paris. " * 8}
    body = json.dumps(
        {
            **_COMMON,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 14, "completion_tokens": 56, "total_tokens": 70},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _event(content: str | None) -> bytes:
    delta: dict[str, Any] = {} if content is None else {"role": "assistant", "content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if content is None else None}
    data = (
        b"data: " + json.dumps({**_COMMON, "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )
    return b"%x\r\n%s\r\n" % (len(data), data)


WHOLE = _whole()
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
STREAM_END = _event(" and the rest") + _event(None) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(DONE), DONE)


class Upstream(asyncio.Protocol):
    """One connection. Requests are not pipelined by any of the clients here."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (what a TCP server gives)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when the request is complete."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        size = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < size:
            return
        request, self._buffer = self._buffer[:size], self._buffer[size:]
        if not _STREAM.search(request, end):
            self._transport.write(WHOLE)
            return
        self._transport.write(STREAM_HEAD + _event(f"t={time.monotonic_ns()};"))
        asyncio.get_running_loop().call_later(PAUSE_S, self._transport.write, STREAM_END)


async def serve(ready_file: Path) -> None:
    """Serve on a free port of the loopback, write the address to `ready_file`, stop on SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    temporary = ready_file.with_suffix(".tmp")
    temporary.write_text(f"127.0.0.1:{server.sockets[0].getsockname()[1]}\n", encoding="utf-8")
    temporary.replace(ready_file)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    asyncio.run(serve(parser.parse_args().ready_file))
