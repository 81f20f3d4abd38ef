"""One call of the `openai` embedder. A text that the endpoint cannot take does not fail the others.

If a request fails and its texts may be the reason, it is split: its texts are sent in smaller and smaller groups,
and a text that is refused alone is sent once more, cut. If a failure may be the text's or the endpoint's, the
shortest text, sent alone, shows which. Only that text's failures, and those that no text can cause, count as outages.
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
# If there is no shorter text, this much of a text is sent to see whether the endpoint works.
PROBE_BYTES = 64


class Embedded(NamedTuple):
    """A text's vector, and whether it is that of the text's start only."""

    vector: npt.NDArray[np.float32]
    truncated: bool


class TooLargeError(Exception):
    """The endpoint works, but refuses the text even when it is cut. `cause` is as in an `AttemptError`."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)


class Remote:
    """Shared by all calls of one embedder: the endpoint, the limit on requests, and its state."""

    def __init__(self, name: str, options: OpenAIOptions, endpoint: EmbeddingsEndpoint) -> None:
        self.name, self.options, self.endpoint = name, options, endpoint
        self.breaker = CircuitBreaker(options.breaker_failures, options.breaker_seconds)
        self.slots = asyncio.Semaphore(options.max_parallel_requests)
        self.dimension: int | None = None
        """The length of its last vectors; None before the first."""


class Call:
    """One call: several requests, each with several texts, and one time limit.

    Afterwards each text is in `embedded` or `failed`; `tokens` is how many tokens were read in total,
    None if not known.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote, self._options = remote, remote.options
        self._deadline = asyncio.get_running_loop().time() + self._options.timeout_seconds
        # Whether the endpoint has answered in this call, or refused a text as such; then there is no outage.
        self._is_well = False
        self._attempts = self._options.max_attempts
        self._results: dict[int, Embedded | AttemptError | TooLargeError] = {}
        self.tokens: int | None = 0

    async def run(self, requests: Sequence[list[Text]]) -> None:
        """Send the requests, several at a time."""
        try:
            async with asyncio.timeout_at(self._deadline):
                requests = sorted(requests, key=lambda texts: max(len(text.raw) for text in texts))
                if self._remote.breaker.is_open:  # one attempt is allowed: use the most informative one
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
        """Why the other texts have no vector, by their places."""
        return {place: result for place, result in self._results.items() if not isinstance(result, Embedded)}

    async def _ask(self, texts: list[Text]) -> None:
        """Send texts, and split or repeat the request if needed."""
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
        # Texts of similar length share a request: those that are too long are soon alone.
        await asyncio.gather(*(self._ask(half) for half in (texts[:middle], texts[middle:]) if half))

    async def _shorten(self, text: Text, failed: AttemptError) -> None:
        """A text failed alone: find out whether the text is the reason; if so, send it cut."""
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
            if len(text.raw) <= self._options.max_batched_bytes and failed.cause != "timeout":
                # The length need not be the reason: a text that failed by chance is not cut.
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
                    await self._probe(text)  # it may refuse everything, e.g. because it does not have the model
            except AttemptError as outage:
                self._fail([text], outage)
                return
            log.info("embedder_text_too_large", embedder=self._remote.name, bytes=whole_bytes, cause=failed.cause)
            self._results[text.place] = TooLargeError(failed.cause)

    async def _probe(self, text: Text) -> None:
        """Send the start of a text to see whether the endpoint works.

        Raises:
            AttemptError: it does not.
        """
        self._learn(await self._send([text.cut(PROBE_BYTES)]))

    def _size_to_cut_to(self, text: Text) -> int | None:
        """How many bytes to send of a text that may be too long; None if it cannot be too long."""
        size, known = len(text.raw), self._options.known_max_tokens
        if known is not None and size > known:
            return known  # a token has at least one byte, so this fits in every language
        return size // 2 if size > SHORT_BYTES else None

    async def _send(self, texts: list[Text], tries: int | None = None) -> EmbeddingsResponse:
        """One request, repeated while a retry may help."""
        remote, loop = self._remote, asyncio.get_running_loop()
        tries = self._attempts if tries is None else tries
        # Such a request cannot fail because of its text.
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
                    # A failure that a text may cause is not retried with the same texts, except for a lost connection.
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
            # The next request tests the same, so it has one attempt less.
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
