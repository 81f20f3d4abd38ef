"""Which server gets what: models, keys, headers, timeouts; and what is opened and closed."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from routing_client import AsyncRoutingClient, RoutingClient
from routing_client.costs import CostLedger
from routing_client.endpoints import Endpoint, Endpoints, EndpointsError
from routing_client.openai import AsyncRoutedOpenAI, RoutedOpenAI, routing_of
from routing_client.openai._sdk import http
from routing_client.testing import AsyncFakeRoutingClient, FakeRoutingClient, FakeService
from routing_gateway.echo import EchoState, RunningEcho

from .conftest import EASY, HARD, PATIENCE, STRONG, WEAK, Face, MakeFace

MODEL = "router-fake-0.5"
URL = "https://api.example.com/v1"


class Recorder:
    """An HTTP client of the SDK's kind whose requests stay here."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.client: Any = http.Client(transport=http.MockTransport(self._answer))

    def _answer(self, request: Any) -> Any:
        self.requests.append(request)
        if request.url.path.endswith("/responses"):
            return http.Response(200, json=self._response(request))
        model = json.loads(request.content)["model"] if request.content else ""
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        return http.Response(200, json=body)

    def _response(self, request: Any) -> dict[str, Any]:
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        return {"id": "1", "object": "response", "model": json.loads(request.content)["model"], "usage": usage}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def ask(client: Any, model: str = MODEL, text: str = HARD, **arguments: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **arguments)


def test_without_endpoints_all_goes_to_the_clients_own_server(
    make_face: MakeFace, echo: RunningEcho, target: str
) -> None:
    face = make_face(base_url=echo.base_url, api_key="sk-own", service=target)
    response = face.create(MODEL, HARD)
    assert (response.model, response.routing.upstream_model) == (STRONG, STRONG)
    assert echo.state.requests[0].headers["authorization"] == "Bearer sk-own"
    assert (response.routing.cost, face.client.costs.total.calls_without_price) == (None, 1)
    assert [model.id for model in face.run(_models)] == ["echo-strong", "echo-weak"]


def _models(client: Any) -> Any:
    if isinstance(client, RoutedOpenAI):
        return list(client.models.list())

    async def collect() -> list[Any]:
        return [model async for model in client.models.list()]

    return collect()


def test_the_names_of_the_pair_go_before_those_of_the_decision(
    make_face: MakeFace, echo: RunningEcho, target: str
) -> None:
    face = make_face(base_url=echo.base_url, api_key="k", service=target, strong_model="a", weak_model="b")
    assert [face.create(MODEL, text).model for text in (HARD, EASY)] == ["a", "b"]


def test_the_default_endpoint_gets_what_has_none(make_face: MakeFace, endpoints: Endpoints, echo: RunningEcho) -> None:
    face = make_face(endpoints=replace(endpoints, default=Endpoint(echo.base_url, api_key="sk-default")))
    face.create("another", EASY)
    face.run(_models)
    assert echo.state.requests[0].headers["authorization"] == "Bearer sk-default"
    assert echo.state.requests[0].body["model"] == "another"


def test_a_file_says_it_all(make_face: MakeFace, echo: RunningEcho, target: str, tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text(f"service: {target}\nmodels:\n  {STRONG}: {{base_url: '{echo.base_url}', api_key: sk-file}}\n")
    assert make_face(endpoints=path).create(MODEL, HARD).model == STRONG


def test_a_model_without_endpoint_and_key_is_an_error(face: Face, upstream: EchoState) -> None:
    with pytest.raises(openai.OpenAIError, match=r"no endpoint.*big, small"):
        face.create("another", EASY)
    with pytest.raises(openai.OpenAIError, match="no endpoint"):
        face.run(lambda client: client.models.retrieve("x"))
    assert not upstream.requests


@pytest.mark.parametrize("client_class", [RoutedOpenAI, AsyncRoutedOpenAI])
def test_wrong_arguments_are_an_error_at_once(client_class: Any) -> None:
    other = AsyncFakeRoutingClient() if client_class is RoutedOpenAI else FakeRoutingClient()
    for service in (other, 50051):
        with pytest.raises(ValueError, match=r"service must be host:port or a \w*RoutingClient, not"):
            client_class(service=service, endpoints={WEAK: Endpoint(URL)})
    for endpoints in ([Endpoint(URL)], 5, {WEAK: URL}):
        with pytest.raises(EndpointsError, match="must be"):
            client_class(endpoints=endpoints)


def test_without_any_key_or_endpoint_the_sdk_says_so(make_face: MakeFace, target: str) -> None:
    with pytest.raises(openai.OpenAIError, match="api_key"):
        make_face(service=target)


def test_a_key_that_is_not_set_is_an_error(make_face: MakeFace, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIG_KEY", raising=False)
    face = make_face(endpoints={STRONG: Endpoint(URL, api_key_env="BIG_KEY")}, service=target)
    with pytest.raises(EndpointsError, match="BIG_KEY"):
        face.create(MODEL, HARD)


@pytest.mark.parametrize("model", [MODEL, STRONG])
def test_no_secret_of_the_clients_own_reaches_another_server(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder, model: str
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer secret")
    client = RoutedOpenAI(
        service=FakeRoutingClient({"prove": 0.9}, models=(STRONG, WEAK)),
        endpoints={STRONG: Endpoint(URL), WEAK: Endpoint(URL, api_key="sk-weak", headers={"x-team": "a"})},
        default_headers={"x-own": "secret"},
        default_query={"own": "secret"},
        http_client=recorder.client,
    )
    ask(client, model, HARD)
    ask(client, WEAK)
    first, second = recorder.requests
    assert "authorization" not in first.headers
    assert second.headers["authorization"] == "Bearer sk-weak"
    assert second.headers["x-team"] == "a"
    for request in (first, second):
        assert "secret" not in f"{request.url} {request.headers.raw}"
    ask(client, WEAK, extra_headers={"Authorization": "Bearer sk-mine"})
    assert recorder.requests[2].headers["authorization"] == "Bearer sk-mine"


def test_an_endpoint_at_the_clients_own_server_has_its_key(recorder: Recorder) -> None:
    client = RoutedOpenAI(
        service=FakeRoutingClient(models=(STRONG, WEAK)),
        endpoints={STRONG: Endpoint(URL, upstream_model="up")},
        api_key="sk-own",
        base_url=URL,
        default_headers={"x-own": "1"},
        http_client=recorder.client,
    )
    ask(client)
    assert recorder.requests[0].headers["authorization"] == "Bearer sk-own"
    assert recorder.requests[0].headers["x-own"] == "1"
    assert json.loads(recorder.requests[0].content)["model"] == "up"


def test_a_key_goes_into_the_header_that_the_endpoint_names(recorder: Recorder) -> None:
    client = RoutedOpenAI(
        service=FakeRoutingClient(models=(STRONG, WEAK)),
        endpoints={STRONG: Endpoint(URL, api_key="sk-strong", api_key_header="x-api-key")},
        api_key="sk-own",
        http_client=recorder.client,
    )
    ask(client, STRONG)
    assert recorder.requests[0].headers["x-api-key"] == "sk-strong"
    assert "authorization" not in recorder.requests[0].headers


@pytest.mark.parametrize("model", ["auto", f"openai/{MODEL}", MODEL.upper(), f"{MODEL}[1m]"])
def test_names_that_programs_change_are_routed(recorder: Recorder, model: str) -> None:
    client = RoutedOpenAI(
        service=FakeRoutingClient(models=(STRONG, WEAK)),
        endpoints=Endpoints({STRONG: Endpoint(URL)}, aliases={"auto": MODEL}),
        api_key="sk-own",
        http_client=recorder.client,
    )
    assert routing_of(ask(client, model, HARD)).is_routed
    assert json.loads(recorder.requests[0].content)["model"] == STRONG


@pytest.mark.parametrize(
    ("own", "options", "call", "expected"),
    [(None, {}, {}, 600), (9, {}, {}, 9), (9, {"timeout": 8}, {}, 8), (9, {"timeout": 8}, {"timeout": 7}, 7)],
)
def test_the_nearest_timeout_counts(
    recorder: Recorder, own: float | None, options: dict[str, Any], call: dict[str, Any], expected: float
) -> None:
    client = RoutedOpenAI(
        service=FakeRoutingClient(models=(STRONG, WEAK)),
        endpoints={STRONG: Endpoint(URL, timeout=own)},
        http_client=recorder.client,
    )
    ask(client.with_options(**options), **call)
    assert recorder.requests[0].extensions["timeout"]["read"] == expected


def test_copies_share_endpoints_costs_and_connections(face: Face) -> None:
    copied = face.client.with_options(timeout=5, max_retries=1)
    assert type(copied) is type(face.client)
    assert copied.endpoints is face.client.endpoints
    face.create(MODEL, HARD)
    before = face.client._shared.upstreams.client(face.client.endpoints[STRONG])
    face.run(lambda _: ask(copied))
    assert copied._shared.upstreams.client(face.client.endpoints[STRONG]) is before
    assert face.client.costs.total.calls == 2


def test_closing_closes_everything(make_face: MakeFace, endpoints: Endpoints) -> None:
    face = make_face(endpoints=endpoints)
    face.create(MODEL, HARD)
    upstreams = [face.client._shared.upstreams.client(endpoints[STRONG])]
    face.close()
    face.close()
    assert face.client.is_closed()
    assert all(each.is_closed() for each in upstreams)
    with pytest.raises(RuntimeError, match="closed"):
        face.create(MODEL, HARD)


def test_ledgers_can_be_shared(make_face: MakeFace, endpoints: Endpoints) -> None:
    ledger = CostLedger(endpoints, strong_model=STRONG)
    for _ in range(2):
        make_face(endpoints=endpoints, costs=ledger).create(MODEL, EASY)
    assert ledger.total.calls == 2
    assert ledger.saving > 0


def test_threads_share_a_client(endpoints: Endpoints, target: str) -> None:
    texts = [HARD, EASY] * 40
    with (
        RoutingClient(target, timeout=PATIENCE) as service,
        RoutedOpenAI(service=service, endpoints=endpoints) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        responses = list(pool.map(lambda text: ask(client, text=text), texts))
        assert client.costs.total.calls == 80
    assert [response.model for response in responses] == [STRONG, WEAK] * 40
    assert all(routing_of(response).decision for response in responses)
    assert all(
        response.choices[0].message.content.endswith(text) for response, text in zip(responses, texts, strict=True)
    )


async def test_tasks_share_a_client(endpoints: Endpoints, target: str) -> None:
    texts = [HARD, EASY] * 40
    async with (
        AsyncRoutingClient(target, timeout=PATIENCE) as service,
        AsyncRoutedOpenAI(service=service, endpoints=endpoints) as client,
    ):
        responses = await asyncio.gather(*(ask(client, text=text) for text in texts))
        assert client.costs.total.calls == 80
    assert [response.model for response in responses] == [STRONG, WEAK] * 40


async def test_a_cancelled_task_cancels_its_call(endpoints: Endpoints, echo: RunningEcho) -> None:
    echo.state.fault = "hang"
    async with AsyncRoutedOpenAI(endpoints=endpoints, failover=True, max_retries=0) as client:
        task = asyncio.create_task(ask(client))
        while not echo.state.requests:  # noqa: ASYNC110 (the echo runs in a thread and has no event of this loop)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(echo.state.requests) == 1


def test_the_responses_api_is_routed_too(recorder: Recorder) -> None:
    service = FakeService({"prove": 0.9}, default=0.1, models=(STRONG, WEAK))
    client = RoutedOpenAI(
        service=FakeRoutingClient(service=service), api_key="k", base_url=URL, http_client=recorder.client
    )
    response = client.responses.create(model=MODEL, input="prove it")
    assert (response.model, routing_of(response).upstream_model) == (STRONG, STRONG)
    usage = routing_of(response).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "say hi"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "prove"},
    ]
    assert client.responses.create(model=MODEL, input=items).model == WEAK
    assert [call.text for call in service.calls] == ["prove it", "say hi"]


def test_several_prompts_at_once_cannot_be_routed(recorder: Recorder) -> None:
    client = RoutedOpenAI(service=FakeRoutingClient(), api_key="k", http_client=recorder.client)
    with pytest.raises(ValueError, match="images"):
        client.images.generate(model=MODEL, prompt="x")
    with pytest.raises(Exception, match="several may need"):
        client.completions.create(model=MODEL, prompt=["a", "b"])
    assert not recorder.requests
