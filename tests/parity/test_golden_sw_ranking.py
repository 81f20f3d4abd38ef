"""`sw_ranking` against RouteLLM's win rates: exported from its battles and served, an endpoint in OpenAI's place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("pyarrow", reason="the extra `export` is not installed")
pytest.importorskip("httpx", reason="the extra `openai` is not installed")

from routing_client.proto import decision_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from routing_service.artifacts.manifest import read_manifest
from tests.support.embedding_endpoint import FakeEmbeddingsEndpoint
from tests.support.sw_ranking import export

FP32_TOLERANCE = 1e-4
COMPRESSED_TOLERANCE = 2e-3
PRECISIONS = ("fp32", "fp16", "int8")
CONFIG = """
routers:
  fp32: {{type: sw_ranking, artifact: "{folder}/fp32", embedder: e}}
  newton: {{type: sw_ranking, artifact: "{folder}/fp32", embedder: e, solver: newton}}
  fp16: {{type: sw_ranking, artifact: "{folder}/fp16", embedder: e}}
  int8: {{type: sw_ranking, artifact: "{folder}/int8", embedder: e}}
default_router: fp32
embedders:
  e: {{type: openai, model: text-embedding-3-small, base_url: "{url}"}}
"""


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> dict[str, Any]:
    """RouteLLM's answers, with the prompts they are for."""
    folder = shared_dir / "golden" / "routellm"
    found: dict[str, Any] = json.loads((folder / "golden.json").read_text(encoding="utf-8"))["sw_ranking"]
    return {**found, "prompts": json.loads((folder / "prompts.json").read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def artifacts(shared_dir: Path, golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The battles exported in each precision."""
    source, folder = shared_dir / "golden" / "routellm" / "sw_ranking", tmp_path_factory.mktemp("sw_ranking")
    files = {name: [str(source / f"{name}.parquet")] for name in ("battles", "embeddings")}
    for precision in PRECISIONS:
        export(folder / precision, precision=precision, num_tiers=golden["num_tiers"], **files)
    return folder


@pytest.fixture
def stub(
    artifacts: Path, shared_dir: Path, golden: dict[str, Any], start_service: Callable[..., Any]
) -> Iterator[pb_grpc.RoutingServiceStub]:
    vectors = np.load(shared_dir / "golden" / "routellm" / "embeddings.npy", allow_pickle=False)
    with FakeEmbeddingsEndpoint(dict(zip(golden["prompts"], vectors, strict=True))) as endpoint:
        service = start_service(config=CONFIG.format(folder=artifacts, url=endpoint.base_url))
        with grpc.insecure_channel(service.address) as channel:
            yield pb_grpc.RoutingServiceStub(channel)


def served(stub: pb_grpc.RoutingServiceStub, prompts: list[str], **fields: Any) -> list[float]:
    answers = [stub.Decide(pb.DecideRequest(prompt=prompt, **fields), timeout=30).decision for prompt in prompts]
    assert all(answer.reason == decision_pb2.DECISION_REASON_THRESHOLD for answer in answers)
    return [answer.strong_win_rate for answer in answers]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_models_are_in_routellm_s_tiers(artifacts: Path, golden: dict[str, Any], precision: str) -> None:
    options = read_manifest(artifacts / precision).options
    assert options["model2tier"] == golden["model2tier"]
    assert options["battles"] == golden["battles_kept"]


def test_served_win_rates_are_routellm_s(stub: pb_grpc.RoutingServiceStub, golden: dict[str, Any]) -> None:
    prompts, rates = golden["prompts"], golden["win_rates"]
    assert served(stub, prompts) == pytest.approx(rates, abs=FP32_TOLERANCE)
    for router in ("fp16", "int8", "newton"):
        assert served(stub, prompts, router=router) == pytest.approx(rates, abs=COMPRESSED_TOLERANCE), router

    # All at once, in one batch, gives the same.
    batch = stub.BatchDecide(pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=p) for p in prompts]), timeout=30)
    together = [result.decision.strong_win_rate for result in batch.results]
    assert together == pytest.approx(rates, abs=FP32_TOLERANCE)

    # Any pair of the battles' models may be asked for at run time.
    pair = decision_pb2.ModelPair(strong="mixtral-8x7b-instruct-v0.1", weak="gpt-4-1106-preview")
    assert served(stub, prompts, models=pair) == pytest.approx(1 - np.array(rates), abs=FP32_TOLERANCE)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(pb.DecideRequest(prompt="x", models=decision_pb2.ModelPair(strong="gpt-4-1106-previw")), timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "did you mean 'gpt-4-1106-preview'?" in (caught.value.details() or "")
