"""HTTP load on a chat completions endpoint: from `h2load`, and for streams from a bare socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 30
_STAMP = re.compile(rb"t=(\d+);")


@dataclass(frozen=True)
class ChatTarget:
    """An address, a model and a prompt."""

    address: str
    model: str
    prompt: str

    def body(self, *, stream: bool = False) -> bytes:
        """A request like that of an OpenAI SDK."""
        fields = {"messages": [{"role": "user", "content": self.prompt}], "model": self.model}
        return json.dumps(fields | ({"stream": True} if stream else {}), separators=(",", ":")).encode()

    def check(self) -> None:
        """Ask once and check that it is a real answer.

        Raises:
            RuntimeError: It is not a chat completion.
        """
        connection = http.client.HTTPConnection(self.address, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", "/v1/chat/completions", self.body(), {"content-type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status != 200 or json.loads(data)["object"] != "chat.completion":
            raise RuntimeError(f"{self.model} answered {answer.status}: {data[:500]!r}")


def throughput(endpoint: ChatTarget, body: Path, core: int, in_flight: int, seconds: int) -> float:
    """Answers per second over `in_flight` connections.

    Args:
        endpoint: What to load.
        body: A file to write the request to.
        core: The core for the load.
        in_flight: Requests in flight at any time, one for each connection.
        seconds: How long to measure.

    Raises:
        RuntimeError: A request failed.
    """
    return _h2load(endpoint, body, core, f"--clients={in_flight}", f"--duration={seconds}") / seconds


def latency_ms(endpoint: ChatTarget, body: Path, core: int, count: int) -> float:
    """The median time from sending a request to the end of its answer, one at a time on one connection.

    Raises:
        RuntimeError: A request failed.
    """
    log = body.with_suffix(".log")
    log.unlink(missing_ok=True)
    _h2load(endpoint, body, core, "--clients=1", f"--requests={count}", f"--log-file={log}")
    return statistics.median(int(line.split("\t")[2]) for line in log.read_text().splitlines()) / 1000


def first_byte_ms(endpoint: ChatTarget, core: int, count: int) -> float:
    """The median time from the upstream writing a stream's first piece to its arrival here, one stream at a time.

    Raises:
        RuntimeError: A stream had no such piece.
    """
    host, port = endpoint.address.split(":")
    data = endpoint.body(stream=True)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {endpoint.address}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return statistics.median(_one_stream(connection, head.encode() + data) for _ in range(count))
    finally:
        os.sched_setaffinity(0, before)


def _one_stream(connection: socket.socket, request: bytes) -> float:
    connection.sendall(request)
    received, took = b"", None
    while not received.endswith(b"0\r\n\r\n"):
        piece = connection.recv(1 << 16)
        now = time.monotonic_ns()
        if not piece:
            raise RuntimeError(f"the stream ended early: {received[:300]!r}")
        received += piece
        if took is None and (stamp := _STAMP.search(received)):
            took = (now - int(stamp[1])) / 1e6
    if took is None:
        raise RuntimeError(f"the stream has no time in it: {received[:300]!r}")
    return took


def _h2load(endpoint: ChatTarget, body: Path, core: int, *options: str) -> int:
    """How many requests succeeded, after checking that none failed."""
    body.write_bytes(endpoint.body())
    command = [
        "taskset", "--cpu-list", str(core), "h2load", "--h1", "--threads=1", *options,
        "--header", "content-type: application/json", "--data", str(body),
        f"http://{endpoint.address}/v1/chat/completions",
    ]  # fmt: skip
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
    requests = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if not requests or not statuses:
        raise RuntimeError(f"h2load said:\n{output}")
    succeeded, *bad = (int(number) for number in (*requests.groups(), *statuses.groups()[1:]))
    if any(bad) or not succeeded:
        raise RuntimeError(f"requests failed, by h2load:\n{output}")
    return succeeded
