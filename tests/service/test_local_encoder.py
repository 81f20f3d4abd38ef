"""`mf` over the `onnx` embedder: a service that needs nobody else, as a caller sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")
pytest.importorskip("transformers", reason="the extra `export` is not installed")

from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from export_onnx import cli
from tests.support.encoder import write_encoder
from tests.support.mf import export, write_checkpoint

CONFIG = """
default_router: mf
routers:
  mf: {{type: mf, artifact: "{folder}/mf", embedder: local}}
embedders:
  local: {{type: onnx, artifact: "{folder}/encoder", threads: 1}}
"""


def test_prompts_are_scored_without_a_network(tmp_path: Path, start_service: Callable[..., Any]) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint")
    assert cli.main(["encoder", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "encoder")]) == 0
    weights = write_checkpoint(tmp_path / "weights", text_dim=32)
    export(weights, tmp_path / "mf", strong_model="big", weak_model="small", embedding_model="checkpoint")
    service = start_service(config=CONFIG.format(folder=tmp_path))
    prompts = ["hi", "the quick brown fox", "a long one " * 500]
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)
        single = [stub.Decide(pb.DecideRequest(prompt=prompt), timeout=30).decision for prompt in prompts]
        requests = [pb.DecideRequest(prompt=prompt) for prompt in prompts]
        batch = stub.BatchDecide(pb.BatchDecideRequest(requests=requests), timeout=30).results
    assert [decision.truncated for decision in single] == [False, False, True]
    assert single[2].prompt_tokens == 24
    rates = [decision.strong_win_rate for decision in single]
    assert len(set(rates)) == 3
    assert [result.decision.strong_win_rate for result in batch] == pytest.approx(rates, abs=1e-5)
    assert "embedding_model_differs" not in service.log
