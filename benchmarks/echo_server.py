"""A bare `grpc.aio` server with our messages: the cost of a call without deciding.

It parses the request and answers with a fixed response as large as a real one; no interceptors, logs or options. Run as
`python -m benchmarks.echo_server --ready-file F`; SIGTERM stops it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
from routing_client.proto import decision_pb2, routing_service_pb2, routing_service_pb2_grpc

DECISION = decision_pb2.Decision(
    decision_id="0198f3a2-7c1e-7d4b-9a53-3f6e2b8c1d70",
    model="gpt-4-1106-preview",
    tier=decision_pb2.TIER_STRONG,
    strong_win_rate=0.6180339887498949,
    threshold=0.5,
    router="static",
    router_revision="2f1c8e5a9b7d",
    reason=decision_pb2.DECISION_REASON_THRESHOLD,
    prompt_tokens=42,
    timing=decision_pb2.Timing(tokenize_us=10.5, queue_us=0.0, inference_us=20.25, total_us=60.125),
)


class EchoService(routing_service_pb2_grpc.RoutingServiceServicer):
    """Always answers the same."""

    async def Decide(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the generated name and signature
        """One fixed decision."""
        return routing_service_pb2.DecideResponse(decision=DECISION)

    async def BatchDecide(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - as above
        """One fixed decision for each item."""
        results = [routing_service_pb2.DecideResult(decision=DECISION) for _ in request.requests]
        return routing_service_pb2.BatchDecideResponse(results=results)


async def serve(ready_file: Path) -> None:
    """Serve on a free port of the loopback, write the address to `ready_file`, stop on SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server()
    routing_service_pb2_grpc.add_RoutingServiceServicer_to_server(EchoService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    temporary = ready_file.with_suffix(".tmp")
    temporary.write_text(f"127.0.0.1:{port}\n", encoding="utf-8")
    temporary.replace(ready_file)
    await stop.wait()
    await server.stop(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    asyncio.run(serve(parser.parse_args().ready_file))
