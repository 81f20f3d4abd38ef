"""The echo's routes."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from routing_gateway.echo import answers
from routing_gateway.echo.faults import FAULT_HEADER, Fault, split_model
from routing_gateway.echo.reply import HTML, Counters, Reply, error_body, event, to_json

DEFAULT_MODELS = ("echo-strong", "echo-weak")
KEPT_REQUESTS = 1000
# A fixed time makes answers comparable from run to run.
CREATED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str] = field(repr=False)  # often with a key
    body: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True)
class EchoState:
    """What tests look at and turn, at `app.state.echo`."""

    models: Sequence[str]
    pace: float
    key: str | None
    keep_requests: bool
    fault: str = ""
    """Applies to every request that brings none of its own."""
    counters: Counters = field(default_factory=Counters)
    requests: deque[Received] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    """The newest requests, oldest first, when they are kept."""


def create_echo(
    models: Sequence[str] = DEFAULT_MODELS,
    *,
    pace: float = 0.0,
    key: str | None = None,
    keep_requests: bool = False,
    fault: str = "",
) -> Starlette:
    """An OpenAI-compatible server that calls no LLM: it answers with what it was told. Any model name is served.

    Args:
        models: What `GET /v1/models` lists.
        pace: Seconds between the words of a stream.
        key: When given, requests without `Authorization: Bearer KEY` are answered 401.
        keep_requests: Keep the newest requests, whole, in `app.state.echo.requests`. For tests.
        fault: Applies to every request that brings none of its own; see `Fault`. A request brings one in the header
            `x-echo-fault`, or after a `#` in its model's name.

    Raises:
        ValueError: `fault` is none that the echo knows.
    """
    Fault.parse(fault)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _chat, methods=["POST"]),
            Route("/v1/completions", _completions, methods=["POST"]),
            Route("/v1/embeddings", _embeddings, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
            Route("/echo/stats", _stats),
            Route("/echo/fault", _set_fault, methods=["PUT"]),
        ],
        exception_handlers={404: _no_route, 405: _no_route},
    )
    app.state.echo = EchoState(models, pace, key, keep_requests, fault)
    return app


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that has been read and checked."""

    state: EchoState
    body: Mapping[str, Any]
    model: str
    fault: Fault

    def reply(self, parts: AsyncIterator[bytes] | bytes, media_type: str = "application/json") -> Reply:
        return Reply(self.state.counters, parts, self.fault, media_type=media_type)


async def _read(request: Request) -> _Asked | Reply:
    """What was asked, or the reply when that is settled already: an error or a fault."""
    state: EchoState = request.app.state.echo

    def refuse(status: int, message: str, kind: str, code: str | None = None, fault: Fault | None = None) -> Reply:
        fault = fault or Fault()
        headers = {"retry-after": f"{fault.retry_after:g}"} if fault.retry_after else {}
        body = to_json(error_body(message, kind, code))
        return Reply(state.counters, body, fault, status=status, headers=headers)

    try:
        body = json.loads(await request.body())
    except ValueError:
        return refuse(400, "the body is not JSON", "invalid_request_error")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return refuse(400, "the body must be an object with a 'model'", "invalid_request_error")
    if state.keep_requests:
        state.requests.append(Received(request.url.path, dict(request.headers), body))
    if state.key is not None and request.headers.get("authorization") != f"Bearer {state.key}":
        return refuse(401, "the API key is missing or wrong", "invalid_request_error", "invalid_api_key")
    model, by_name = split_model(body["model"])
    try:
        fault = Fault.parse(request.headers.get(FAULT_HEADER) or by_name or state.fault)
    except ValueError as error:
        return refuse(400, str(error), "invalid_request_error")
    if fault.status:
        kind = "server_error" if fault.status >= 500 else "invalid_request_error"
        return refuse(fault.status, f"the echo was told to answer {fault.status}", kind, "echo_fault", fault)
    if fault.not_json:
        return Reply(state.counters, HTML, fault, media_type="text/html")
    return _Asked(state, body, model, fault)


async def _chat(request: Request) -> Reply:
    return await _answer(request, answers.chat_answer, _chat_completion, _chat_chunks)


async def _completions(request: Request) -> Reply:
    return await _answer(request, answers.text_answer, _text_completion, _text_chunks)


async def _answer(
    request: Request,
    compose: Callable[[Mapping[str, Any], str], answers.Answer],
    whole: Callable[[answers.Answer], dict[str, Any]],
    chunks: Callable[[answers.Answer, int], Iterator[dict[str, Any]]],
) -> Reply:
    asked = await _read(request)
    if isinstance(asked, Reply):
        return asked
    try:
        answer = compose(asked.body, asked.model)
        copies = _copies(asked.body)
    except ValueError as error:
        body = to_json(error_body(str(error), "invalid_request_error"))
        return Reply(asked.state.counters, body, status=400)
    text = request.url.path == "/v1/completions"
    if asked.body.get("stream"):
        kind = "text_completion" if text else "chat.completion.chunk"
        frames = _frames(asked, kind, answer, copies, chunks)
        return asked.reply(_events(asked, frames), "text/event-stream; charset=utf-8")
    choices = [{"index": index, **whole(answer)} for index in range(copies)]
    body_json = {**_head("text_completion" if text else "chat.completion", asked.model), "choices": choices}
    if not asked.fault.no_usage:
        body_json["usage"] = answer.usage(copies)
    return asked.reply(to_json(body_json))


def _copies(body: Mapping[str, Any]) -> int:
    copies = body.get("n") or 1
    if not isinstance(copies, int) or not 1 <= copies <= 128:
        raise ValueError("'n' must be from 1 to 128")
    return copies


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-echo", "object": kind, "created": CREATED, "model": model}


def _chat_completion(answer: answers.Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [call.as_json() for call in answer.tool_calls]
    return {"message": message, "logprobs": None, "finish_reason": answer.finish_reason}


def _text_completion(answer: answers.Answer) -> dict[str, Any]:
    return {"text": answer.content, "logprobs": None, "finish_reason": answer.finish_reason}


def _chat_chunks(answer: answers.Answer, index: int) -> Iterator[dict[str, Any]]:
    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    yield choice({"role": "assistant", "content": None if answer.tool_calls else ""})
    for piece in answer.pieces:
        yield choice({"content": piece})
    for number, call in enumerate(answer.tool_calls):
        start = {**call.as_json(), "index": number, "function": {"name": call.name, "arguments": ""}}
        yield choice({"tool_calls": [start]})
        for piece in answers.pieces(call.arguments):
            yield choice({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield choice({}, answer.finish_reason)


def _text_chunks(answer: answers.Answer, index: int) -> Iterator[dict[str, Any]]:
    for piece in answer.pieces:
        yield {"index": index, "text": piece, "logprobs": None, "finish_reason": None}
    yield {"index": index, "text": "", "logprobs": None, "finish_reason": answer.finish_reason}


def _frames(
    asked: _Asked,
    kind: str,
    answer: answers.Answer,
    copies: int,
    chunks: Callable[[answers.Answer, int], Iterator[dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    options = asked.body.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True and not asked.fault.no_usage
    head = _head(kind, asked.model)
    usage = {"usage": None} if with_usage else {}
    # The copies' chunks come in turns, as they do from servers that make them side by side.
    for turn in zip(*(list(chunks(answer, index)) for index in range(copies)), strict=True):
        for choice in turn:
            yield {**head, "choices": [choice], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": answer.usage(copies)}


async def _events(asked: _Asked, frames: Iterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    pace = asked.fault.pace or asked.state.pace
    sent = [event(frame) for frame in frames]
    if asked.fault.endless:
        sent = [data for data in sent if b'"finish_reason":null' in data]
        pace = pace or 0.01  # nobody is to be flooded
    for data in cycle(sent) if asked.fault.endless else sent:
        yield data
        if pace:
            await asyncio.sleep(pace)
    yield b"data: [DONE]\n\n"


async def _embeddings(request: Request) -> Reply:
    asked = await _read(request)
    if isinstance(asked, Reply):
        return asked
    given = asked.body.get("input")
    texts = [given] if isinstance(given, str) else given
    dimensions = asked.body.get("dimensions") or answers.DEFAULT_DIMENSIONS
    if not isinstance(texts, list) or not texts or not isinstance(dimensions, int) or not 1 <= dimensions <= 4096:
        body = error_body("'input' must be a text or a list of texts", "invalid_request_error")
        return Reply(asked.state.counters, to_json(body), status=400)
    vectors = [answers.embedding(str(text), dimensions) for text in texts]
    encode = answers.encoded if asked.body.get("encoding_format") == "base64" else list
    tokens = sum(len(answers.pieces(str(text))) for text in texts)
    data = [{"object": "embedding", "index": i, "embedding": encode(vector)} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return asked.reply(to_json({"object": "list", "data": data, "model": asked.model, "usage": usage}))


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "echo"}


async def _models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_card(name) for name in request.app.state.echo.models]})


async def _model(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in request.app.state.echo.models:
        message = f"there is no model {name!r}"
        return JSONResponse(error_body(message, "invalid_request_error", "model_not_found"), 404)
    return JSONResponse(_card(name))


async def _stats(request: Request) -> Response:
    return JSONResponse(request.app.state.echo.counters.as_json())


async def _set_fault(request: Request) -> Response:
    """For echoes in another process: `PUT /echo/fault` with the fault as plain text, empty for none."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        Fault.parse(text)
    except ValueError as error:
        return JSONResponse(error_body(str(error), "invalid_request_error"), 400)
    request.app.state.echo.fault = text
    return Response(status_code=204)


async def _no_route(request: Request, _error: Exception) -> Response:
    message = f"the echo has no {request.method} {request.url.path}"
    return JSONResponse(error_body(message, "invalid_request_error", "unknown_url"), 404)
