"""Endpoints that are called through LiteLLM, which speaks the protocols of many providers.

LiteLLM is behind an HTTP transport: the SDK's requests end there and its responses begin there. So streams, raw
responses, parsing and errors are the SDK's own for these endpoints too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from routing_client._extras import require
from routing_client.openai._sdk import http

if TYPE_CHECKING:
    from routing_client.endpoints import Endpoint


def litellm_client(endpoint: Endpoint) -> Any:
    """A synchronous HTTP client that calls LiteLLM.

    Raises:
        MissingExtraError: LiteLLM is not installed.
    """
    return http.Client(transport=_Transport(_Calls(endpoint)))


def async_litellm_client(endpoint: Endpoint) -> Any:
    """An asynchronous HTTP client that calls LiteLLM.

    Raises:
        MissingExtraError: LiteLLM is not installed.
    """
    return http.AsyncClient(transport=_AsyncTransport(_Calls(endpoint)))


class _Calls:
    """The shared part of both transports: from requests to LiteLLM's arguments, and from its results to responses."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.litellm = _import()
        self._key = endpoint.key()
        self._headers = dict(endpoint.headers)

    def arguments(self, request: Any) -> dict[str, Any] | None:
        """The arguments for LiteLLM; None if it has no such method."""
        if request.method != "POST" or not request.url.path.endswith("/chat/completions"):
            return None
        arguments: dict[str, Any] = {**json.loads(request.content), "max_retries": 0}  # the SDK itself retries
        timeout = request.extensions.get("timeout", {}).get("read")
        if timeout is not None:
            arguments["timeout"] = timeout
        if self._key is not None:
            arguments["api_key"] = self._key
        if self._headers:
            arguments["extra_headers"] = self._headers
        return arguments

    def failed(self, error: Exception) -> Any:
        """The response for LiteLLM's exception, or the SDK's kind of exception.

        Raises:
            Exception: `error` itself, if it is not an upstream's answer.
        """
        if isinstance(error, self.litellm.exceptions.Timeout):
            raise http.ReadTimeout("the provider did not answer in time") from error
        if isinstance(error, self.litellm.exceptions.APIConnectionError):
            raise http.ConnectError("the provider cannot be reached") from error
        status = getattr(error, "status_code", None)
        if not isinstance(status, int) or not 400 <= status < 600:
            raise error
        message = str(getattr(error, "message", error))
        details = {name: getattr(error, name, None) for name in ("type", "param", "code")}
        return http.Response(status, json={"error": {"message": message, **details}})


class _Transport(http.BaseTransport):  # type: ignore[misc]  # the library is whichever the SDK uses
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def handle_request(self, request: Any) -> Any:
        arguments = self._calls.arguments(request)
        if arguments is None:
            return _not_found()
        try:
            result = self._calls.litellm.completion(**arguments)
        except Exception as error:
            return self._calls.failed(error)
        if arguments.get("stream"):
            return http.Response(200, headers=_EVENT_STREAM, stream=_Events(result))
        return http.Response(200, json=result.model_dump(mode="json"))


class _AsyncTransport(http.AsyncBaseTransport):  # type: ignore[misc]  # as above
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def handle_async_request(self, request: Any) -> Any:
        arguments = self._calls.arguments(request)
        if arguments is None:
            return _not_found()
        try:
            result = await self._calls.litellm.acompletion(**arguments)
        except Exception as error:
            return self._calls.failed(error)
        if arguments.get("stream"):
            return http.Response(200, headers=_EVENT_STREAM, stream=_AsyncEvents(result))
        return http.Response(200, json=result.model_dump(mode="json"))


class _Events(http.SyncByteStream):  # type: ignore[misc]  # as above
    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield _event(chunk)
        yield _DONE

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


class _AsyncEvents(http.AsyncByteStream):  # type: ignore[misc]  # as above
    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield _event(chunk)
        yield _DONE

    async def aclose(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


_EVENT_STREAM = {"content-type": "text/event-stream"}
_DONE = b"data: [DONE]\n\n"


def _event(chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk.model_dump(mode="json")).encode() + b"\n\n"


def _not_found() -> Any:
    message = "only chat completions can be called through LiteLLM here"
    return http.Response(404, json={"error": {"message": message, "type": "invalid_request_error"}})


def _import() -> Any:
    if "litellm" in sys.modules:
        return sys.modules["litellm"]
    # Otherwise importing LiteLLM downloads a list of prices, which is not used here.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = require("litellm", "litellm", "a model of the form provider/model")
    litellm.suppress_debug_info = True  # it prints to standard output when a provider fails
    return litellm
