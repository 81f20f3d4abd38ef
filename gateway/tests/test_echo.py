"""The offline upstream answers as OpenAI's API does, and fails as it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the extra `openai` is not installed")
pytest.importorskip("starlette", reason="the extra `gateway` is not installed")

import httpx
import hypothesis.strategies as st
import openai
from hypothesis import given
from routing_gateway.echo import Counters, Fault, RunningEcho, create_echo, serve_echo
from routing_gateway.echo.answers import echo_of, pieces

HELLO: Any = [{"role": "user", "content": "hello there,\n  echo"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
    for name in ("weather", "clock")
]


@pytest.fixture(scope="module")
def running_echo() -> Iterator[RunningEcho]:
    with serve_echo() as running:
        yield running


@pytest.fixture
def echo(running_echo: RunningEcho) -> RunningEcho:
    """As if it had just been started."""
    running_echo.state.counters = Counters()
    running_echo.state.requests.clear()
    running_echo.state.fault = ""
    return running_echo


@pytest.fixture
def client(echo: RunningEcho) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=echo.base_url, api_key="key", max_retries=0, timeout=20) as made:
        yield made


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_plain_answer_holds_the_text_and_its_tokens(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="some-model", messages=HELLO)
    text = echo_of("some-model", "hello there,\n  echo")
    assert (answer.model, answer.choices[0].message.content) == ("some-model", text)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, len(pieces(text)))
    assert answer.usage.total_tokens == 3 + len(pieces(text))


def test_a_stream_is_the_same_answer_word_by_word(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options=options, n=2)
    chunks = list(stream)
    for index in (0, 1):
        said = [c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index]
        assert "".join(said) == echo_of("m", "hello there,\n  echo")
        assert len(said) > 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2 * len(pieces(echo_of("m", "hello there,\n  echo")))
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_usage_in_a_stream_only_when_asked(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert all(chunk.usage is None for chunk in stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "extra", "called"),
    [
        ("the weather please", {}, ["weather"]),
        ("weather and clock", {}, ["weather", "clock"]),
        ("weather and clock", {"parallel_tool_calls": False}, ["weather"]),
        ("weather", {"tool_choice": "none"}, []),
        ("hello", {}, []),
        ("hello", {"tool_choice": "required"}, ["weather"]),
        ("hello", {"tool_choice": {"type": "function", "function": {"name": "clock"}}}, ["clock"]),
    ],
)
def test_tools_are_called_when_they_are_named(
    echo: RunningEcho, text: str, extra: dict[str, Any], called: list[str], stream: bool
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "tools": TOOLS, "stream": stream, **extra}
    answer = httpx.post(f"{echo.base_url}/chat/completions", json=body)
    if stream:
        events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line and line != "data: [DONE]"]
        names: dict[int, str] = {}
        arguments: dict[int, str] = {}
        for call in (call for e in events for call in e["choices"][0]["delta"].get("tool_calls", ())):
            names.setdefault(call["index"], call["function"].get("name"))
            arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
        found = [(names[index], json.loads(arguments[index])) for index in sorted(names)]
        finish = events[-1]["choices"][0]["finish_reason"]
    else:
        message = answer.json()["choices"][0]["message"]
        calls = [call["function"] for call in message.get("tool_calls", ())]
        found = [(call["name"], json.loads(call["arguments"])) for call in calls]
        finish = answer.json()["choices"][0]["finish_reason"]
    assert found == [(name, {"city": text, "days": 1}) for name in called]
    assert finish == ("tool_calls" if called else "stop")


def test_a_json_schema_is_kept(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"enum": ["a", "b"]}}}}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = client.chat.completions.create(model="m", messages=HELLO, response_format=wanted)
    assert json.loads(answer.choices[0].message.content or "") == {"tags": ["a"]}


def test_max_tokens_cuts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("This is ", "length")


def test_completions_embeddings_and_models(client: openai.OpenAI) -> None:
    assert client.completions.create(model="m", prompt="hi").choices[0].text == echo_of("m", "hi")
    streamed = client.completions.create(model="m", prompt="hi", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == echo_of("m", "hi")
    packed = client.embeddings.create(model="m", input=["a", "b"], dimensions=5).data  # base64 on the wire
    plain = client.embeddings.create(model="m", input="a", dimensions=5, encoding_format="float").data
    assert packed[0].embedding == pytest.approx(plain[0].embedding)
    assert packed[0].embedding != packed[1].embedding
    assert [model.id for model in client.models.list()] == ["echo-strong", "echo-weak"]
    assert client.models.retrieve("echo-weak").id == "echo-weak"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (503, openai.InternalServerError)],
)
def test_a_status_is_answered_in_openais_format(client: openai.OpenAI, status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"told to answer {status}") as caught:
        client.chat.completions.create(model=f"m#status={status},retry-after=7", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "7"  # type: ignore[attr-defined] # all of them have it


def test_a_header_goes_before_the_models_name_and_that_before_the_echos_own(echo: RunningEcho) -> None:
    def status(model: str, header: str | None = None) -> int:
        headers = {} if header is None else {"x-echo-fault": header}
        body = {"model": model, "messages": HELLO}
        return httpx.post(f"{echo.base_url}/chat/completions", json=body, headers=headers).status_code

    url = echo.base_url.removesuffix("/v1")
    assert httpx.put(f"{url}/echo/fault", content="status=500").status_code == 204
    assert (status("m"), status("m#status=502"), status("m#status=502", "status=503")) == (500, 502, 503)
    assert httpx.put(f"{url}/echo/fault", content="sttus=1").status_code == 400
    assert httpx.put(f"{url}/echo/fault", content="").status_code == 204
    assert status("m") == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_answer_ends_before_its_end(echo: RunningEcho, stream: bool) -> None:
    body = {"model": "m#broken=3", "messages": HELLO, "stream": stream}
    parts: list[bytes] = []
    with httpx.stream("POST", f"{echo.base_url}/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            parts.extend(answer.iter_raw())
    seen = b"".join(parts)
    assert seen.startswith(b"data: " if stream else b"{")
    assert b"[DONE]" not in seen
    if stream:
        assert seen.count(b"data: ") == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_of_html_is_no_answer(echo: RunningEcho, stream: bool) -> None:
    body = {"model": "m#not-json", "messages": HELLO, "stream": stream}
    answer = httpx.post(f"{echo.base_url}/chat/completions", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_an_error_in_mid_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="m#error-event=2", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="failed in mid-stream"):
        list(stream)


def test_an_event_that_is_no_json(echo: RunningEcho) -> None:
    body = {"model": "m#bad-event=2", "messages": HELLO, "stream": True}
    events = httpx.post(f"{echo.base_url}/chat/completions", json=body).text.split("\n\n")
    assert events[2] == "data: {this is no JSON"
    assert events[-2] == "data: [DONE]"


@pytest.mark.parametrize("fault", ["hang", "first-byte=600", "delay=600"])
def test_what_never_answers_is_aborted_by_its_caller(echo: RunningEcho, fault: str) -> None:
    body = {"model": f"m#{fault}", "messages": HELLO, "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{echo.base_url}/chat/completions", json=body, timeout=0.3)
    eventually(lambda: echo.state.counters.open == 0)
    assert echo.state.counters.as_json() == {"started": 1, "completed": 0, "aborted": 1, "open": 0}


def test_what_never_ends_is_aborted_by_its_caller(echo: RunningEcho) -> None:
    body = {"model": "m#endless", "messages": HELLO, "stream": True}
    with httpx.stream("POST", f"{echo.base_url}/chat/completions", json=body) as answer:
        events = answer.iter_lines()
        seen = [next(events) for _ in range(200)]
        assert echo.state.counters.open == 1
    assert not any('finish_reason":"stop' in line or "[DONE]" in line for line in seen)
    eventually(lambda: echo.state.counters.open == 0)
    assert echo.state.counters.aborted == 1


def test_an_endless_stream_does_not_keep_the_echo_from_stopping() -> None:
    with serve_echo() as echo, httpx.Client() as http:
        request = http.build_request(
            "POST", f"{echo.base_url}/chat/completions", json={"model": "m#endless", "messages": HELLO, "stream": True}
        )
        answer = http.send(request, stream=True)
        counters = echo.state.counters
        assert counters.open == 1
    answer.close()
    assert (counters.open, counters.aborted) == (0, 1)


def test_usage_can_be_left_out(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="m#no-usage", messages=HELLO).usage is None


def test_requests_are_kept_only_when_asked_and_keys_are_not_shown(client: openai.OpenAI, echo: RunningEcho) -> None:
    client.chat.completions.create(model="m", messages=HELLO, extra_body={"unheard_of": 1})
    (received,) = echo.state.requests
    assert (received.path, received.body["unheard_of"]) == ("/v1/chat/completions", 1)
    assert received.headers["authorization"] == "Bearer key"
    assert "Bearer" not in repr(received)
    with serve_echo(create_echo()) as other:
        httpx.post(f"{other.base_url}/chat/completions", json={"model": "m", "messages": HELLO})
        assert not other.state.requests


def test_a_key_can_be_demanded() -> None:
    with serve_echo(create_echo(key="right")) as echo:
        for key, status in (("wrong", 401), ("right", 200)):
            headers = {"authorization": f"Bearer {key}"}
            body = {"model": "m", "messages": HELLO}
            answer = httpx.post(f"{echo.base_url}/chat/completions", json=body, headers=headers)
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("chat/completions", b"{", "not JSON"),
        ("chat/completions", b"\xff", "not JSON"),
        ("chat/completions", b"[]", "'model'"),
        ("chat/completions", b'{"model": "m"}', "'messages'"),
        ("chat/completions", b'{"model": "m", "messages": [1]}', "'messages'"),
        ("chat/completions", b'{"model": "m", "messages": [{}], "n": 0.5}', "'n'"),
        ("chat/completions", b'{"model": "m#loud", "messages": [{}]}', "no fault 'loud'"),
        ("completions", b'{"model": "m", "prompt": 1}', "'prompt'"),
        ("embeddings", b'{"model": "m"}', "'input'"),
        ("nothing", b"{}", "no POST /v1/nothing"),
    ],
)
def test_bad_requests_are_refused(echo: RunningEcho, path: str, content: bytes, says: str) -> None:
    answer = httpx.post(f"{echo.base_url}/{path}", content=content)
    assert answer.status_code == (404 if path == "nothing" else 400)
    assert says in answer.json()["error"]["message"]
    assert echo.state.counters.open == 0


@pytest.mark.parametrize(
    "text", ["loud", "status", "status=x", "status=200", "pace=-1", "pace=nan", "hang=1", "broken=1.5"]
)
def test_a_fault_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Fault.parse(text)


@given(st.text())
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(pieces(text))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_listens_and_stops(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "routing_gateway.echo", "--ready-file", str(ready), "--fault", "status=418"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: ready.exists() or process.poll() is not None)
        url = f"http://{ready.read_text().strip()}/v1/chat/completions"
        assert httpx.post(url, json={"model": "m", "messages": HELLO}).status_code == 418
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
        assert out == f"echo at http://{ready.read_text().strip()}/v1\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_told(echo: RunningEcho) -> None:
    port = echo.base_url.split(":")[2].removesuffix("/v1")
    command = [sys.executable, "-m", "routing_gateway.echo", "--port", port]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "Address already in use" in ran.stderr
