"""`mf` against RouteLLM's win rates: exported from its checkpoint and served, an endpoint in OpenAI's place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("httpx", reason="the extra `openai` is not installed")

from routing_client.proto import decision_pb2
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc

from tests.support.embedding_endpoint import FakeEmbeddingsEndpoint
from tests.support.mf import export

FP32_TOLERANCE = 1e-4
INT8_MEAN_TOLERANCE = 0.02
CONFIG = """
routers:
  mf: {{type: mf, artifact: "{folder}/mf", embedder: e}}
  other: {{type: mf, artifact: "{folder}/other", embedder: e}}
  int8: {{type: mf, artifact: "{folder}/int8", embedder: e}}
default_router: mf
embedders:
  e: {{type: openai, model: text-embedding-3-small, base_url: "{url}", encoding_format: {encoding}}}
"""


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> dict[str, Any]:
    """RouteLLM's answers, with the prompts they are for."""
    folder = shared_dir / "golden" / "routellm"
    found: dict[str, Any] = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    return {**found, "prompts": json.loads((folder / "prompts.json").read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def endpoint(shared_dir: Path, golden: dict[str, Any]) -> Iterator[FakeEmbeddingsEndpoint]:
    vectors = np.load(shared_dir / "golden" / "routellm" / "embeddings.npy", allow_pickle=False)
    with FakeEmbeddingsEndpoint(dict(zip(golden["prompts"], vectors, strict=True))) as running:
        yield running


@pytest.fixture(params=["base64", "float"])
def stub(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    shared_dir: Path,
    golden: dict[str, Any],
    endpoint: FakeEmbeddingsEndpoint,
    start_service: Callable[..., Any],
) -> Iterator[pb_grpc.RoutingServiceStub]:
    """A service with the checkpoint exported for its own pair, for the other, and in int8."""
    checkpoint, other = shared_dir / "golden" / "routellm" / "mf", golden["mf_other_pair"]
    pair = {"strong_model": other["strong_model"], "weak_model": other["weak_model"]}
    for name, options in {"mf": {}, "other": pair, "int8": {"quantize": "int8"}}.items():
        export(checkpoint, tmp_path / name, **options)
    service = start_service(config=CONFIG.format(folder=tmp_path, url=endpoint.base_url, encoding=request.param))
    with grpc.insecure_channel(service.address) as channel:
        yield pb_grpc.RoutingServiceStub(channel)


def served(stub: pb_grpc.RoutingServiceStub, prompts: list[str], **fields: Any) -> list[float]:
    answers = [stub.Decide(pb.DecideRequest(prompt=prompt, **fields), timeout=30).decision for prompt in prompts]
    assert all(answer.reason == decision_pb2.DECISION_REASON_THRESHOLD for answer in answers)
    return [answer.strong_win_rate for answer in answers]


def test_served_win_rates_are_routellm_s(stub: pb_grpc.RoutingServiceStub, golden: dict[str, Any]) -> None:
    prompts, own, other = golden["prompts"], golden["mf"], golden["mf_other_pair"]
    assert served(stub, prompts) == pytest.approx(own["win_rates"], abs=FP32_TOLERANCE)
    assert served(stub, prompts, router="other") == pytest.approx(other["win_rates"], abs=FP32_TOLERANCE)
    # Any pair of the checkpoint's models may be asked for at run time.
    pair = decision_pb2.ModelPair(strong=other["strong_model"], weak=other["weak_model"])
    assert served(stub, prompts, models=pair) == pytest.approx(other["win_rates"], abs=FP32_TOLERANCE)
    int8 = served(stub, prompts, router="int8")
    assert np.abs(np.subtract(int8, own["win_rates"])).mean() <= INT8_MEAN_TOLERANCE

    # All at once, in one batch, gives the same.
    batch = stub.BatchDecide(pb.BatchDecideRequest(requests=[pb.DecideRequest(prompt=p) for p in prompts]), timeout=30)
    rates = [result.decision.strong_win_rate for result in batch.results]
    assert rates == pytest.approx(own["win_rates"], abs=FP32_TOLERANCE)

    with pytest.raises(grpc.RpcError) as caught:
        stub.Decide(pb.DecideRequest(prompt="x", models=decision_pb2.ModelPair(strong="gpt-4-1106-previw")), timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "did you mean 'gpt-4-1106-preview'?" in (caught.value.details() or "")
