"""Models of the form provider/model, through the real LiteLLM. Its `hosted_vllm` is the upstream of the other tests."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import openai
import pytest
from routing_client._extras import MissingExtraError
from routing_client.costs import Usage
from routing_client.endpoints import LITELLM, Endpoint
from routing_client.openai import RoutedOpenAI
from routing_gateway.echo import EchoState, RunningEcho

from .conftest import EASY, HARD, WEAK, Face, MakeFace

STRONG = "hosted_vllm/big"
MODEL = "router-fake-0.5"

# LiteLLM's own code, on import and as it runs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def face(make_face: MakeFace, echo: RunningEcho, target: str, monkeypatch: pytest.MonkeyPatch) -> Face:
    pytest.importorskip("litellm", reason="the extra 'litellm' is not installed")
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", echo.base_url)
    strong = Endpoint(LITELLM, api_key="sk-lite", upstream_model=STRONG, input_price=10, headers={"x-team": "a"})
    endpoints = {STRONG: strong, WEAK: Endpoint(echo.base_url)}
    return make_face(service=target, endpoints=endpoints, strong_model=STRONG, weak_model=WEAK, max_retries=0)


def test_plain(face: Face, upstream: EchoState) -> None:
    response = face.create(MODEL, HARD, temperature=0.5)
    assert type(response).__module__.startswith("openai.")
    assert response.model == STRONG
    assert response.choices[0].message.content.endswith(HARD)
    assert response.routing.cost == pytest.approx(10 * response.usage.prompt_tokens / 1e6)
    request = upstream.requests[0]
    assert (request.body["model"], request.body["temperature"]) == ("big", 0.5)
    assert (request.headers["authorization"], request.headers["x-team"]) == ("Bearer sk-lite", "a")


def test_streams(face: Face) -> None:
    stream = face.create(MODEL, HARD, stream=True, stream_options={"include_usage": True})
    chunks = face.chunks(stream)
    assert {chunk.model for chunk in chunks} == {STRONG}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.endswith(HARD)
    assert isinstance(stream.routing.usage, Usage)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status=429", openai.RateLimitError),
        ("status=500", openai.InternalServerError),
        ("status=401", openai.AuthenticationError),
        ("hang", openai.APITimeoutError),
    ],
)
def test_errors_are_the_sdks(face: Face, upstream: EchoState, fault: str, error: type[Exception]) -> None:
    upstream.fault = fault
    with pytest.raises(error):
        face.create(MODEL, HARD, timeout=0.5)
    assert len(upstream.requests) == 1


def test_failover_crosses_from_a_provider_to_an_endpoint(
    make_face: MakeFace, face: Face, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", "http://127.0.0.1:9/v1")
    other = make_face(
        service=target,
        endpoints=face.client.endpoints,
        strong_model=STRONG,
        weak_model=WEAK,
        failover=True,
        max_retries=0,
    )
    response = other.create(MODEL, HARD)
    assert (response.model, response.routing.failed_over_from) == (WEAK, STRONG)


def test_a_provider_that_is_none_is_an_error(face: Face, upstream: EchoState) -> None:
    with pytest.raises(openai.OpenAIError, match=r"no endpoint|Provider"):
        face.create("nonsense/model", EASY)
    assert not upstream.requests


def test_only_chat_completions_are_offered(face: Face) -> None:
    with pytest.raises(openai.NotFoundError, match="only chat completions"):
        face.run(lambda client: client.embeddings.create(model=STRONG, input="x"))


def test_without_litellm_the_extra_is_named(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "litellm":
            raise ModuleNotFoundError("No module named 'litellm'", name="litellm")
        return real(name, *arguments, **options)

    monkeypatch.setattr("routing_client._extras.import_module", missing)
    with (
        RoutedOpenAI(service=target, api_key="k") as client,
        pytest.raises(MissingExtraError, match=r"routing-client\[litellm\]"),
    ):
        client.chat.completions.create(model="hosted_vllm/big", messages=[{"role": "user", "content": EASY}])
