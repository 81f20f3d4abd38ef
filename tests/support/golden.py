"""RouteLLM's win rates for the shared checkpoints, and routers that are held to them over a real channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.exporting import export

FP32_TOLERANCE = 1e-4
INT8_MEAN_TOLERANCE = 0.02
CONFIG = """
routers:
  fp32: {{type: {kind}, artifact: "{folder}/fp32"}}
  int8: {{type: {kind}, artifact: "{folder}/int8"}}
default_router: fp32
"""


def check_text_router(kind: str, shared: Path, folder: Path, start_service: Callable[..., Any]) -> None:
    """Export the checkpoint of `kind` in float32 and int8, serve both, and compare every prompt's win rate."""
    golden = shared / "golden" / "routellm"
    prompts: list[str] = json.loads((golden / "prompts.json").read_text(encoding="utf-8"))
    wanted = np.array(json.loads((golden / "golden.json").read_text(encoding="utf-8"))[kind]["win_rates"])
    export(kind, golden / kind, folder / "fp32")
    export(kind, golden / kind, folder / "int8", "--quantize", "int8")
    service = start_service(config=CONFIG.format(kind=kind, folder=folder))
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        answers = [stub.Decide(pb.DecideRequest(prompt=prompt, threshold=0.5), timeout=30) for prompt in prompts]
        batches = {
            router: stub.BatchDecide(
                pb.BatchDecideRequest(
                    requests=[pb.DecideRequest(prompt=prompt, router=router, threshold=0.5) for prompt in prompts]
                ),
                timeout=60,
            )
            for router in ("fp32", "int8")
        }
    single = np.array([answer.decision.strong_win_rate for answer in answers])
    together = {
        router: np.array([result.decision.strong_win_rate for result in batch.results])
        for router, batch in batches.items()
    }
    assert np.abs(single - wanted).max() < FP32_TOLERANCE
    assert np.abs(together["fp32"] - wanted).max() < FP32_TOLERANCE
    assert 0 < np.abs(together["int8"] - wanted).mean() < INT8_MEAN_TOLERANCE
    assert [answer.decision.tier for answer in answers] == [1 if rate >= 0.5 else 2 for rate in single]
