"""`train mf`, then `serve` with the configuration that it prints: no embedder, no network, no other key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from routing_client.proto import decision_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc
from routing_lab.training.mf.train import train

from tests.support.progress import no_progress
from tests.support.training import EASY, HARD, WriteBattles, request


def test_what_train_prints_is_served(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles, start_service: Callable[..., Any]
) -> None:
    report = train(request(write_battles(400), tmp_path / "out", embeddings_folder), progress=no_progress)
    service = start_service(config=report.config)
    with grpc.insecure_channel(service.address) as channel:
        stub = pb_grpc.RoutingServiceStub(channel)

        def decide(prompt: str, **more: Any) -> Any:
            return stub.Decide(pb.DecideRequest(prompt=prompt, **more), timeout=30).decision

        easy, hard = decide(EASY), decide(HARD, strong_share=0.5)
        assert (easy.router, easy.router_revision, easy.prompt_tokens) == ("mf", report.revision, 4)
        assert easy.strong_win_rate < hard.strong_win_rate
        assert {easy.model, hard.model} <= {"big", "small"}
        reverse = decide(HARD, models=decision_pb2.ModelPair(strong="small", weak="big"), threshold=0.5)
        assert reverse.strong_win_rate == pytest.approx(1 - hard.strong_win_rate, abs=1e-6)
        third = decide(HARD, models=decision_pb2.ModelPair(strong="big", weak="tiny"), threshold=0.5)
        assert third.model in {"big", "tiny"}
