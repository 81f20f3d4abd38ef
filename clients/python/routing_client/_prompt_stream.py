"""The messages of a `Calibrate` call."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from time import monotonic
from typing import cast

from routing_client._gen.llmrouting.v1 import routing_service_pb2
from routing_client._requests import invalid, well_formed
from routing_client.types import ModelPair

# A message of a `Calibrate` stream has at most so many prompts, and so many characters unless one prompt has more; none
# is held back for more than this time by a stream that goes on.
MESSAGE_PROMPTS = 64
MAX_MESSAGE_CHARACTERS = 1 << 16
MESSAGE_SECONDS = 0.1


class PromptStream:
    """The messages of a `Calibrate` call, to be iterated once, with or without `async`.

    gRPC turns an exception of the caller's own iterator into a cancelled call; `failure` keeps it, to be raised
    instead.
    """

    def __init__(
        self,
        prompts: Iterable[str] | AsyncIterable[str],
        strong_shares: Sequence[float],
        router: str,
        models: ModelPair,
    ) -> None:
        self._prompts = prompts
        self._first = routing_service_pb2.CalibrateRequest(router=router, strong_shares=strong_shares)
        if models != ModelPair():
            self._first.models.strong, self._first.models.weak = models.strong, models.weak
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[routing_service_pb2.CalibrateRequest]:
        yield self._first
        try:
            batch = _PromptBatch()
            # The synchronous client's types admit nothing else; an async iterable raises TypeError here.
            for prompt in cast("Iterable[str]", self._prompts):
                yield from batch.add(prompt)
            yield from batch.rest()
        except Exception as error:
            self.failure = error
            raise

    async def __aiter__(self) -> AsyncIterator[routing_service_pb2.CalibrateRequest]:
        yield self._first
        try:
            batch = _PromptBatch()
            if isinstance(self._prompts, AsyncIterable):
                async for prompt in self._prompts:
                    for message in batch.add(prompt):
                        yield message
            else:
                for prompt in self._prompts:
                    for message in batch.add(prompt):
                        yield message
            for message in batch.rest():
                yield message
        except Exception as error:
            self.failure = error
            raise


class _PromptBatch:
    """Gathers prompts to a message, and holds none of a slow stream back: the server ends one that sends nothing."""

    def __init__(self) -> None:
        self._prompts: list[str] = []
        self._characters = 0
        self._sent = -math.inf  # the first goes at once: should it fail, the rest need not be read

    def add(self, prompt: str) -> Iterator[routing_service_pb2.CalibrateRequest]:
        """The messages, none to two, that are due with this prompt."""
        if not isinstance(prompt, str):
            raise invalid("prompts", f"must hold strs, not {type(prompt).__name__}")
        if self._characters + len(prompt) > MAX_MESSAGE_CHARACTERS:  # a long prompt goes alone
            yield from self.rest()
        self._prompts.append(well_formed(prompt))
        self._characters += len(prompt)
        if len(self._prompts) >= MESSAGE_PROMPTS or monotonic() - self._sent > MESSAGE_SECONDS:
            yield from self.rest()

    def rest(self) -> Iterator[routing_service_pb2.CalibrateRequest]:
        """The message of what is gathered, if anything is."""
        if self._prompts:
            message = routing_service_pb2.CalibrateRequest(prompts=self._prompts)
            self._prompts, self._characters = [], 0
            yield message
            self._sent = monotonic()  # and not before: gRPC comes back when the server takes more
