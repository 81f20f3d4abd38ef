"""`chat.completions`. Only its `stream` helper hides the response that has `routing`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from openai.resources.chat import AsyncChat, AsyncCompletions, Chat, Completions

from routing_client.openai._responses import attach

if TYPE_CHECKING:
    from types import TracebackType


class RoutedCompletions(Completions):
    """As the SDK's; what `stream` gives has `routing` too."""

    if not TYPE_CHECKING:  # to a type checker, the arguments and results are the SDK's

        def stream(self, **arguments: Any) -> Any:
            """As the SDK's."""
            return _StreamManager(super().stream(**arguments))


class AsyncRoutedCompletions(AsyncCompletions):
    """As the SDK's; what `stream` gives has `routing` too."""

    if not TYPE_CHECKING:  # as above

        def stream(self, **arguments: Any) -> Any:
            """As the SDK's."""
            return _AsyncStreamManager(super().stream(**arguments))


class RoutedChat(Chat):
    """As the SDK's."""

    @cached_property
    def completions(self) -> RoutedCompletions:
        """As the SDK's."""
        return RoutedCompletions(self._client)


class AsyncRoutedChat(AsyncChat):
    """As the SDK's."""

    @cached_property
    def completions(self) -> AsyncRoutedCompletions:
        """As the SDK's."""
        return AsyncRoutedCompletions(self._client)


class _StreamManager:
    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        stream = _with_routing(self._manager.__enter__())
        final = stream.get_final_completion

        def get_final_completion() -> Any:
            completion = final()
            attach(completion, stream.routing)
            return completion

        stream.get_final_completion = get_final_completion
        return stream

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.__exit__(exc_type, exc, traceback)


class _AsyncStreamManager:
    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        stream = _with_routing(await self._manager.__aenter__())
        final = stream.get_final_completion

        async def get_final_completion() -> Any:
            completion = await final()
            attach(completion, stream.routing)
            return completion

        stream.get_final_completion = get_final_completion
        return stream

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._manager.__aexit__(exc_type, exc, traceback)


def _with_routing(stream: Any) -> Any:
    stream.routing = stream._raw_stream.routing  # noqa: SLF001 (the helper offers no other way to its response)
    return stream
