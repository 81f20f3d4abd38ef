"""What one call of the `openai` embedder sends, so that a text that the endpoint cannot take fails nobody else.

A request that fails for reasons that may lie in its texts is taken apart: its texts are sent in ever smaller groups,
and one that is refused alone is sent once more, cut. Whether a failure that could be either's is an outage is told by
the shortest text, sent alone; only such a text, and what cannot be a text's fault, counts against the endpoint.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import structlog

from routing_service.embedders.circuit_breaker import CircuitBreaker
from routing_service.embedders.openai_endpoint import AttemptError, Blame, EmbeddingsEndpoint
from routing_service.embedders.openai_options import OpenAIOptions
from routing_service.embedders.openai_wire import EmbeddingsResponse, Text

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
# No embedding model reads less than this: a text of no more bytes is never refused for its length.
SHORT_BYTES = 256
# How much of a text asks whether the endpoint is well when there is no shorter text to ask with.
PROBE_BYTES = 64


class Embedded(NamedTuple):
    """A text's vector, and whether it is that of the text's start only."""

    vector: npt.NDArray[np.float32]
    truncated: bool


class TooLargeError(Exception):
    """The endpoint, which is well, refuses the text even when it is cut. `cause` is as an `AttemptError`'s."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)


class Remote:
    """What all calls of one embedder share: the endpoint, how many may use it, and how it is."""

    def __init__(self, name: str, options: OpenAIOptions, endpoint: EmbeddingsEndpoint) -> None:
        self.name, self.options, self.endpoint = name, options, endpoint
        self.breaker = CircuitBreaker(options.breaker_failures, options.breaker_seconds)
        self.slots = asyncio.Semaphore(options.max_parallel_requests)
        self.dimension: int | None = None
        """The length of the vectors that it gave last; None before the first."""


class Call:
    """One call: some requests, each with some texts, and a time limit in all.

    Afterwards each text is among the `embedded` or the `failed` ones; `tokens` is how many tokens were read in all,
    None when that is not known.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote, self._options = remote, remote.options
        self._deadline = asyncio.get_running_loop().time() + self._options.timeout_seconds
        # Whether the endpoint has answered in this call, or refused a text for what it is; it has no outage then.
        self._is_well = False
        self._attempts = self._options.max_attempts
        self._results: dict[int, Embedded | AttemptError | TooLargeError] = {}
        self.tokens: int | None = 0

    async def run(self, requests: Sequence[list[Text]]) -> None:
        """Send the requests, several at a time."""
        try:
            async with asyncio.timeout_at(self._deadline):
                requests = sorted(requests, key=lambda texts: max(len(text.raw) for text in texts))
                if self._remote.breaker.is_open:  # one attempt is let through: let it be the one that tells most
                    await self._ask(requests[0])
                    requests = requests[1:]
                await asyncio.gather(*map(self._ask, requests))
        except TimeoutError:
            late = AttemptError("timeout", Blame.UNCLEAR, fair=False)
            for text in (text for texts in requests for text in texts):
                self._results.setdefault(text.place, late)

    def embedded(self) -> dict[int, Embedded]:
        """The vectors, by their texts' places."""
        return {place: result for place, result in self._results.items() if isinstance(result, Embedded)}

    def failed(self) -> dict[int, AttemptError | TooLargeError]:
        """Why the other texts have none, by their places."""
        return {place: result for place, result in self._results.items() if not isinstance(result, Embedded)}

    async def _ask(self, texts: list[Text]) -> None:
        """Send texts, and whatever follows from that."""
        try:
            self._done(texts, await self._send(texts))
        except AttemptError as failed:
            if failed.blame is Blame.ENDPOINT:
                self._fail(texts, failed)
            elif len(texts) > 1:
                await self._take_apart(texts, failed)
            else:
                await self._shorten(texts[0], failed)

    async def _take_apart(self, texts: list[Text], failed: AttemptError) -> None:
        texts = sorted(texts, key=lambda text: len(text.raw))
        if failed.blame is Blame.UNCLEAR and not self._is_well:
            shortest, texts = texts[0], texts[1:]
            await self._ask([shortest])
            told = self._results[shortest.place]
            if not self._is_well and isinstance(told, AttemptError):
                self._fail(texts, told)
                return
        middle = len(texts) // 2
        # Neighbours in length share a request, so that those that are too long are soon by themselves.
        await asyncio.gather(*(self._ask(half) for half in (texts[:middle], texts[middle:]) if half))

    async def _shorten(self, text: Text, failed: AttemptError) -> None:
        """A text failed alone: find out whether it is the text, and if so send it cut."""
        size = self._size_to_cut_to(text)
        if size is None:
            self._fail([text], failed)
            return
        if failed.blame is Blame.UNCLEAR and not self._is_well:
            try:
                await self._probe(text)
            except AttemptError as outage:
                self._fail([text], outage)
                return
            if len(text.raw) <= self._options.longest_together and failed.cause != "timeout":
                # It need not have been the length: what failed by chance is not cut.
                try:
                    self._done([text], await self._send([text], tries=1))
                except AttemptError as again:
                    if again.blame is Blame.ENDPOINT:
                        self._fail([text], again)
                        return
                else:
                    return
        await self._send_cut(text.cut(size), len(text.raw))

    async def _send_cut(self, text: Text, whole_bytes: int) -> None:
        try:
            self._done([text], await self._send([text], tries=1))
        except AttemptError as failed:
            try:
                if failed.blame is Blame.ENDPOINT or failed.cause == "timeout":
                    raise
                if self._remote.dimension is None:
                    await self._probe(text)  # it may refuse everything, as it does a model that it does not have
            except AttemptError as outage:
                self._fail([text], outage)
                return
            log.info("embedder_text_too_large", embedder=self._remote.name, bytes=whole_bytes, cause=failed.cause)
            self._results[text.place] = TooLargeError(failed.cause)

    async def _probe(self, text: Text) -> None:
        """Ask with a text's start whether the endpoint is well.

        Raises:
            AttemptError: it is not.
        """
        self._learn(await self._send([text.cut(PROBE_BYTES)]))

    def _size_to_cut_to(self, text: Text) -> int | None:
        """How many bytes to send of a text that may be too long; None when it can't be."""
        size, known = len(text.raw), self._options.known_max_tokens
        if known is not None and size > known:
            return known  # a token has at least one byte, so this fits whatever the language
        return size // 2 if size > SHORT_BYTES else None

    async def _send(self, texts: list[Text], tries: int | None = None) -> EmbeddingsResponse:
        """One request, repeated while that may help."""
        remote, loop = self._remote, asyncio.get_running_loop()
        tries = self._attempts if tries is None else tries
        # A failure of such a request cannot be its text's.
        telling = len(texts) == 1 and self._size_to_cut_to(texts[0]) is None
        async with remote.slots:
            for attempt in range(1, tries + 1):
                if wait := remote.breaker.wait_seconds():
                    raise AttemptError("left_alone", Blame.ENDPOINT, hold_seconds=wait)
                try:
                    answer = await remote.endpoint.attempt(texts, self._deadline - loop.time())
                except AttemptError as failed:
                    self._note(failed, telling)
                    # Full jitter would allow no pause at all; half of it spreads callers enough.
                    pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                    pause += failed.hold_seconds
                    # What may be a text's fault is not tried again with the same texts, but for a lost connection.
                    again = failed.again and (telling or failed.blame is Blame.ENDPOINT or failed.cause == "connection")
                    if not again or attempt == tries or loop.time() + pause >= self._deadline:
                        raise
                    await asyncio.sleep(pause)
                else:
                    if remote.breaker.succeeded():
                        log.info("embedder_answers_again", embedder=remote.name)
                    return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _note(self, failed: AttemptError, telling: bool) -> None:
        breaker = self._remote.breaker
        if failed.blame is Blame.INPUT:
            self._is_well = True
            breaker.inconclusive()
        elif not failed.fair or (failed.blame is Blame.UNCLEAR and not telling):
            # The next request asks the same question, so that it is an attempt less.
            self._attempts = max(1, self._options.max_attempts - 1)
            breaker.inconclusive()
        elif breaker.failed(failed.hold_seconds):
            seconds = failed.hold_seconds or self._options.breaker_seconds
            log.warning(
                "embedder_left_alone", embedder=self._remote.name, cause=failed.cause, seconds=round(seconds, 3)
            )

    def _learn(self, answer: EmbeddingsResponse) -> None:
        self._is_well, self._remote.dimension = True, answer.vectors.shape[1]

    def _done(self, texts: list[Text], answer: EmbeddingsResponse) -> None:
        self._learn(answer)
        for text, vector in zip(texts, answer.vectors, strict=True):
            self._results[text.place] = Embedded(vector, text.truncated)
        self.tokens = None if self.tokens is None or answer.tokens is None else self.tokens + answer.tokens

    def _fail(self, texts: list[Text], failed: AttemptError) -> None:
        self._results.update((text.place, failed) for text in texts)
