"""What is added to the SDK's responses: the routed model's name, `routing`, costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from routing_client.costs import CostLedger, Entry, Usage
from routing_client.openai._sdk import http, openai

if TYPE_CHECKING:
    from routing_client.dispatch import Routing, Send

T = TypeVar("T")


def routing_of(response: object) -> Routing:
    """The `routing` of a response or stream, for type-checked code: the SDK's classes do not declare it.

    Raises:
        TypeError: It is not a response of a routed client.
    """
    from routing_client.dispatch import Routing

    routing = getattr(response, "routing", None)
    if not isinstance(routing, Routing):
        raise TypeError(f"this {type(response).__name__} is not a response of a RoutedOpenAI or AsyncRoutedOpenAI")
    return routing


class RoutedResponse:
    """One call's response as it arrives: keeps its `Routing` and its entry in the ledger up to date.

    Args:
        send: What was sent.
        costs: Where to count the call.
        request: An HTTP request for errors, without the body; None if text is a valid answer.
    """

    def __init__(self, send: Send, costs: CostLedger, request: Any) -> None:
        self.routing = send.routing
        self._strong_model = send.strong_model
        self._costs = costs
        self._request = request
        self._entry: Entry | None = None

    def begin(self, response: Any) -> Any:
        """The upstream has answered. Returns `response` with its `routing`."""
        if self._entry is None:
            self._entry = self._costs.record(
                self.routing.model, None, self.routing.decision, strong_model=self._strong_model
            )
        attach(response, self.routing)
        return response

    def parsed(self, value: Any) -> Any:
        """What the SDK parsed from the response: a model, a stream, or bytes of some kind.

        Raises:
            openai.APIError: It is not a JSON object although it should be.
        """
        if self._request is not None and (value is None or isinstance(value, str | int | float | list)):
            raise no_json(self._request)
        if isinstance(value, openai.BaseModel):
            self._see(value)
        elif isinstance(value, RoutedStream | AsyncRoutedStream):
            value.answer = self
        return self.begin(value)

    def chunk(self, value: T) -> T:
        """One chunk or event of a stream."""
        self._see(value)
        self._see(getattr(value, "response", None))  # events of the Responses API carry the response so far
        return value

    def _see(self, value: Any) -> None:
        model = getattr(value, "model", None)
        # The SDK's parser makes a second object of the first.
        if self.routing.upstream_model is None and isinstance(model, str):
            self.routing.upstream_model = model
        # Also if the upstream left it out, but not on events that never have a model.
        if self.routing.is_routed and hasattr(value, "model"):
            value.model = self.routing.model
        usage = Usage.read(getattr(value, "usage", None))
        if usage is not None:
            self._settle(usage)

    def _settle(self, usage: Usage) -> None:
        if self._entry is None:
            self.begin(None)
        assert self._entry is not None  # noqa: S101 (begin has made it)
        self._entry.settle(usage)
        self.routing.usage = usage
        self.routing.cost, self.routing.all_strong_cost = self._entry.cost, self._entry.all_strong


class RoutedStream(openai.Stream[T]):
    """The SDK's stream. Its `routing` is complete at its end."""

    routing: Routing
    answer: RoutedResponse | None = None
    _is_empty = True

    def __next__(self) -> T:
        try:
            chunk = super().__next__()
        except StopIteration:
            if self._is_empty and not _is_event_stream(self.response):
                raise no_json(self.response.request) from None
            raise
        except json.JSONDecodeError:
            raise no_json(self.response.request) from None
        except http.TransportError as error:
            raise _broken(error, self.response.request) from error
        self._is_empty = False
        return chunk if self.answer is None else self.answer.chunk(chunk)

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                chunk = next(self)
            except StopIteration:
                return
            yield chunk


class AsyncRoutedStream(openai.AsyncStream[T]):
    """The SDK's stream. Its `routing` is complete at its end."""

    routing: Routing
    answer: RoutedResponse | None = None
    _is_empty = True

    async def __anext__(self) -> T:
        try:
            chunk = await super().__anext__()
        except StopAsyncIteration:
            if self._is_empty and not _is_event_stream(self.response):
                raise no_json(self.response.request) from None
            raise
        except json.JSONDecodeError:
            raise no_json(self.response.request) from None
        except http.TransportError as error:
            raise _broken(error, self.response.request) from error
        self._is_empty = False
        return chunk if self.answer is None else self.answer.chunk(chunk)

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                chunk = await self.__anext__()
            except StopAsyncIteration:
                return
            yield chunk


def routed_stream_class(stream_cls: Any) -> Any:
    """The routed form of `Stream[X]` or `AsyncStream[X]`; anything else as it is."""
    chunk = get_args(stream_cls)
    origin = getattr(stream_cls, "__origin__", None)
    if origin is openai.Stream and chunk:
        return RoutedStream[chunk[0]]  # type: ignore[valid-type]  # the type is known when it runs
    if origin is openai.AsyncStream and chunk:
        return AsyncRoutedStream[chunk[0]]  # type: ignore[valid-type]  # as above
    return stream_cls


def no_json(request: Any) -> openai.APIError:
    """The error for an answer with a good status and a body that is not what it should be."""
    message = "the upstream's answer is not JSON, or no JSON object; does its base_url end in /v1?"
    return openai.APIError(message, request, body=None)


def _broken(error: Exception, request: Any) -> openai.APIConnectionError:
    """The SDK's exception for a stream that breaks; version 2 of the SDK raises its HTTP library's exception."""
    if isinstance(error, http.TimeoutException):
        return openai.APITimeoutError(request=request)
    return openai.APIConnectionError(request=request)


def _is_event_stream(response: Any) -> bool:
    return str(response.headers.get("content-type", "")).startswith("text/event-stream")


def attach(response: Any, routing: Routing) -> None:
    """Set `response.routing`, if the object allows it."""
    if response is None or isinstance(response, str | bytes | int | float | list | dict):
        return
    # Without pydantic: as one of its fields, `routing` would appear in every dump of the response.
    object.__setattr__(response, "routing", routing)
