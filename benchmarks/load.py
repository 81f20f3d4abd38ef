"""gRPC load from `h2load`. It needs much less CPU than a Python client, so it measures the server.

h2load knows HTTP/2, not gRPC: it posts a file with one length-prefixed message and counts HTTP statuses, which
are always 200. So each call is first tried through a gRPC channel, which reads the gRPC status, and
afterwards the number of returned bytes must be that of good answers: an error has none.
"""

from __future__ import annotations

import re
import statistics
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.message import Message
from routing_client.proxies import channel_options

SERVICE = "/llmrouting.v1.RoutingService/"
# An answer's size varies by a few bytes: zeros are not sent, and numbers are as long as they need to be.
SIZE_TOLERANCE = 0.1


@dataclass(frozen=True)
class Call:
    """A request on disk in gRPC's framing, and the size in bytes of the framed answer that it got when it was tried."""

    method: str
    path: Path
    answer_bytes: int


def prepare(address: str, method: str, request: Message, path: Path) -> Call:
    """Write a framed request to `path`, and try it.

    Raises:
        grpc.RpcError: the server answered with an error.
    """
    payload = request.SerializeToString()
    with grpc.insecure_channel(
        address, options=[("grpc.max_receive_message_length", -1), *channel_options(proxy=None)]
    ) as channel:
        call = channel.unary_unary(SERVICE + method, None, None)
        # Twice: the second answer, like all later ones, may come from the score cache, and is then shorter.
        answer: bytes = [call(payload, timeout=30) for _ in range(2)][-1]
    path.write_bytes(struct.pack(">BI", 0, len(payload)) + payload)
    return Call(method, path, len(answer) + 5)


def _command(address: str, call: Call, core: int, *options: str) -> list[str]:
    headers = [part for header in ("content-type: application/grpc", "te: trailers") for part in ("--header", header)]
    return [
        "taskset", "--cpu-list", str(core), "h2load", "--threads=1", *options, *headers,
        "--data", str(call.path), f"http://{address}{SERVICE}{call.method}",
    ]  # fmt: skip


def throughput(address: str, calls: Sequence[Call], core: int, in_flight: int, seconds: float) -> float:
    """Answers per second over all `calls`, each with its own connection, `in_flight` between them.

    Args:
        address: of the server.
        calls: the mix; `in_flight` is a multiple of their number.
        core: the core for the load.
        in_flight: requests in flight at any time.
        seconds: how long to measure. Warm the server up with an uncounted call before.

    Raises:
        RuntimeError: a request failed.
    """
    each, rest = divmod(in_flight, len(calls))
    if rest:
        raise ValueError(f"{in_flight} in flight cannot be divided among {len(calls)} calls")
    options = (f"--duration={seconds:g}", "--clients=1", f"--max-concurrent-streams={each}")
    processes = [
        subprocess.Popen(_command(address, call, core, *options), stdout=subprocess.PIPE, text=True) for call in calls
    ]
    outputs = [process.communicate(timeout=seconds + 60)[0] for process in processes]
    return sum(_succeeded(output, call) for output, call in zip(outputs, calls, strict=True)) / seconds


def latencies(address: str, call: Call, core: int, count: int, log: Path) -> list[int]:
    """Microseconds from sending a request to the end of its answer, one request at a time over one connection.

    The first tenth is not counted: it warms caches up.

    Raises:
        RuntimeError: a request failed.
    """
    log.unlink(missing_ok=True)
    options = (f"--requests={count}", "--clients=1", "--max-concurrent-streams=1", f"--log-file={log}")
    done = subprocess.run(
        _command(address, call, core, *options), stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    _succeeded(done.stdout, call)
    times = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    return times[count // 10 :]


def median_ms(times_us: Sequence[int]) -> float:
    """The median of microseconds, in milliseconds."""
    return statistics.median(times_us) / 1000


def _succeeded(output: str, call: Call) -> int:
    """How many requests h2load says succeeded, after checking that none failed and that good answers came back."""
    requests = re.search(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    data = re.search(r"\((\d+)\) data", output)
    if not requests or not data:
        raise RuntimeError(f"h2load said:\n{output}")
    succeeded, *bad = (int(number) for number in requests.groups()[1:])
    if any(bad) or not succeeded:
        raise RuntimeError(f"requests failed, by h2load:\n{output}")
    mean = int(data[1]) / succeeded
    if abs(mean / call.answer_bytes - 1) > SIZE_TOLERANCE:
        raise RuntimeError(f"answers have {mean:.0f} bytes instead of about {call.answer_bytes}: some were gRPC errors")
    return succeeded
