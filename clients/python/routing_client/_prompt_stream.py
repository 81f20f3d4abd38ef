"""The messages of a `Calibrate` call."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from time import monotonic
from typing import cast

from routing_client._gen.llmrouting.v1 import conversation_pb2, routing_service_pb2
from routing_client._requests import fill_conversation, invalid, is_chat, well_formed
from routing_client.types import Messages, ModelPair

# A message of a `Calibrate` stream has at most so many prompts and characters (one long prompt may have more); no
# message waits longer than this time for the next prompt.
MESSAGE_PROMPTS = 64
MAX_MESSAGE_CHARACTERS = 1 << 16
MESSAGE_SECONDS = 0.1


class PromptStream:
    """The messages of a `Calibrate` call, to be iterated once, with or without `async`.

    gRPC turns an exception of the caller's iterator into a cancelled call; `failure` keeps it, to be raised
    instead.
    """

    def __init__(
        self,
        prompts: Iterable[str | Messages] | AsyncIterable[str | Messages],
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
            # The synchronous client's types allow nothing else; an async iterable raises TypeError here.
            for prompt in cast("Iterable[str | Messages]", self._prompts):
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
    """Gathers prompts into messages. A slow stream's prompts do not wait: the server ends an idle stream."""

    def __init__(self) -> None:
        self._message = routing_service_pb2.CalibrateRequest()
        self._characters = 0
        self._sent = -math.inf  # the first goes at once: if it fails, the rest need not be read

    def add(self, prompt: str | Messages) -> Iterator[routing_service_pb2.CalibrateRequest]:
        """The messages, none to two, to send after this prompt."""
        if isinstance(prompt, str):
            yield from self._add_prompt(well_formed(prompt))
        elif is_chat(prompt):
            yield from self._add_conversation(prompt)
        else:
            raise invalid("prompts", f"must hold strs or lists of messages, not {type(prompt).__name__}")
        count = len(self._message.prompts) + len(self._message.conversations)
        if count >= MESSAGE_PROMPTS or monotonic() - self._sent > MESSAGE_SECONDS:
            yield from self.rest()

    def _add_prompt(self, prompt: str) -> Iterator[routing_service_pb2.CalibrateRequest]:
        # A long prompt goes alone. A prompt after a chat does not go with it: the server counts a message's prompts
        # first, and an error's index must be the caller's.
        if self._characters + len(prompt) > MAX_MESSAGE_CHARACTERS or self._message.conversations:
            yield from self.rest()
        self._message.prompts.append(prompt)
        self._characters += len(prompt)

    def _add_conversation(self, messages: Messages) -> Iterator[routing_service_pb2.CalibrateRequest]:
        conversation = conversation_pb2.Conversation()
        fill_conversation(conversation, messages)
        size = conversation.ByteSize()
        if self._characters + size > MAX_MESSAGE_CHARACTERS:
            yield from self.rest()
        self._message.conversations.append(conversation)
        self._characters += size

    def rest(self) -> Iterator[routing_service_pb2.CalibrateRequest]:
        """The message of the gathered prompts, if there are any."""
        if self._message.prompts or self._message.conversations:
            message, self._message = self._message, routing_service_pb2.CalibrateRequest()
            self._characters = 0
            yield message
            self._sent = monotonic()  # not earlier: gRPC asks for more when the server takes more
