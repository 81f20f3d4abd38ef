"""`openai`: vectors from any endpoint that answers `/v1/embeddings` as OpenAI does.

Nothing hangs and nothing storms: a call has a time limit in all, an attempt has its own, attempts are few and spaced
with jitter, and an endpoint that keeps failing is left alone for a while, during which calls fail at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import numpy as np
import structlog

from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.embedders.circuit_breaker import CircuitBreaker
from routing_service.embedders.openai_options import OpenAIOptions, read_key
from routing_service.embedders.openai_wire import (
    Answer,
    InvalidAnswerError,
    Text,
    decode_answer,
    encode_request,
    plan_requests,
    retry_after,
)
from routing_service.errors import DecisionError, Reason
from routing_service.extras import pip_install

if TYPE_CHECKING:
    import httpx

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.1
DEFAULT_RETRY_SECONDS = 1.0
# However long an endpoint asks to be left alone, it is tried again after this.
MAX_HOLD_SECONDS = 60.0
CLOSE_SECONDS = 1.0
# A float32 as JSON is at most some 25 bytes, so this allows vectors of 10,000 numbers, and stops an endless answer.
MAX_ANSWER_BYTES_PER_TEXT = 262_144
# What an endpoint answers when it dislikes the input rather than being unwell.
INPUT_REFUSED = frozenset(("http_400", "http_413", "http_422"))


class _AttemptError(Exception):
    """An attempt that gave no vectors.

    `cause` is for logs and metadata; `again` says whether to repeat it, `unwell` whether it speaks against the
    endpoint, `hold_seconds` how long the endpoint asked to be left alone.
    """

    def __init__(self, cause: str, *, again: bool = False, unwell: bool = True, hold_seconds: float = 0.0) -> None:
        self.cause, self.again, self.unwell, self.hold_seconds = cause, again, unwell, hold_seconds
        super().__init__(cause)


class OpenAIEmbedder(Embedder):
    """Asks an OpenAI-compatible endpoint.

    Requests run on one event loop in a thread of their own, over pooled connections; `embed` waits for them.

    Args:
        name: its name in the configuration, for logs and errors.
        options: what to ask, and how patiently.
        key: the bearer token, None to send none.
        transport: for tests: what carries requests instead of the network.
    """

    type: ClassVar[str] = "openai"

    def __init__(
        self,
        name: str,
        options: OpenAIOptions,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(dimension=options.dimensions, max_tokens=options.max_tokens)
        self.concurrency = options.max_parallel_requests
        self.model = options.model
        self._name, self._options, self._transport = name, options, transport
        self._url = f"{options.base_url.rstrip('/')}/embeddings"
        self._headers = {"Content-Type": "application/json", "User-Agent": "routing-service"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._breaker = CircuitBreaker(options.breaker_failures, options.breaker_seconds)
        self._slots = asyncio.Semaphore(options.max_parallel_requests)
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._client: httpx.AsyncClient | None = None
        self._closed = False

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        """Read the options and the key. The endpoint is not called."""
        options = context.options(OpenAIOptions)
        try:
            import httpx  # noqa: F401 - looked for here so that a missing one is found at the start
        except ImportError as error:
            problem = f"needs the package httpx; run: {pip_install('routing-service', 'openai')}"
            raise context.section.error(problem, "type") from error
        return cls(context.name, options, read_key(context, options.api_key_env))

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Ask for the vectors of texts, several requests at a time where there are many.

        Raises:
            DecisionError: EMBEDDER_UNAVAILABLE; at the latest after `timeout_seconds`.
        """
        options = self._options
        requests = list(plan_requests(texts, options.max_tokens, options.max_inputs))
        answers = self._run(self._ask_all(requests))
        vectors = np.empty((len(texts), answers[0][1].vectors.shape[1]), np.float32)
        truncated = [False] * len(texts)
        for sent, answer in answers:
            if answer.vectors.shape[1] != vectors.shape[1]:
                self._fail("invalid_answer")
            vectors[[text.place for text in sent]] = answer.vectors
            for text in sent:
                truncated[text.place] = text.truncated
        # An answer counts the tokens of its request as a whole.
        tokens = answers[0][1].tokens if len(texts) == 1 else None
        return Embeddings(vectors, None if tokens is None else [tokens], truncated)

    def close(self) -> None:
        """Close the connections and stop the thread; calls in progress fail."""
        with self._lock:
            loop, client, self._closed = self._loop, self._client, True
        if loop is None or client is None or loop.is_closed():
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_close(client), loop).result(CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self, work: Coroutine[Any, Any, list[tuple[list[Text], Answer]]]) -> list[tuple[list[Text], Answer]]:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._started())
        except RuntimeError:
            work.close()
            self._fail("closed")
        try:
            return future.result()
        except CancelledError:
            self._fail("closed")

    def _started(self) -> asyncio.AbstractEventLoop:
        """The event loop, started at the first call, after any fork."""
        import httpx

        with self._lock:
            if self._closed:
                raise RuntimeError("closed")
            if self._loop is None:
                limits = httpx.Limits(max_connections=self._options.max_parallel_requests, keepalive_expiry=30.0)
                self._client = httpx.AsyncClient(
                    headers=self._headers,
                    limits=limits,
                    timeout=None,  # noqa: S113 - its timeouts bound single steps; `_attempt` bounds the whole
                    transport=self._transport,
                )
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=_serve, args=(self._loop,), name=f"embedder-{self._name}", daemon=True)
                self._thread.start()
            return self._loop

    async def _ask_all(self, requests: list[list[Text]]) -> list[tuple[list[Text], Answer]]:
        deadline = asyncio.get_running_loop().time() + self._options.timeout_seconds
        if len(requests) == 1:
            return [await self._ask(requests[0], deadline)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(texts, deadline)) for texts in requests]
        except BaseExceptionGroup as failed:
            # The first that failed has cancelled the rest.
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(self, texts: list[Text], deadline: float) -> tuple[list[Text], Answer]:
        """One request, repeated while that may help. Gives the texts as they were sent in the end."""
        try:
            async with asyncio.timeout_at(deadline), self._slots:
                try:
                    return texts, await self._try(texts, deadline)
                except _AttemptError as failed:
                    if failed.cause not in INPUT_REFUSED or len(texts[0].raw) <= self._options.max_tokens:
                        raise
                # A token has at least one byte, so this fits whatever the language.
                texts = [text.cut(self._options.max_tokens) for text in texts]
                return texts, await self._try(texts, deadline)
        except TimeoutError as error:
            self._fail("timeout", error)
        except _AttemptError as error:
            self._fail(error.cause, error, error.hold_seconds)

    async def _try(self, texts: list[Text], deadline: float) -> Answer:
        options, loop = self._options, asyncio.get_running_loop()
        body = encode_request(texts, options.model, options.encoding_format, options.dimensions)
        for attempt in range(1, options.max_attempts + 1):
            if wait := self._breaker.wait_seconds():
                raise _AttemptError("left_alone", unwell=False, hold_seconds=wait)
            try:
                answer = await self._attempt(body, len(texts), deadline - loop.time())
            except _AttemptError as failed:
                self._note(failed)
                # Full jitter would allow no pause at all; half of it spreads callers enough.
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                pause += failed.hold_seconds
                if not failed.again or attempt == options.max_attempts or loop.time() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
            else:
                if self._breaker.succeeded():
                    log.info("embedder_answers_again", embedder=self._name)
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, body: bytes, texts: int, remaining: float) -> Answer:
        import httpx

        limit = self._options.attempt_timeout_seconds
        try:
            async with asyncio.timeout(min(limit, remaining)):
                raw = await self._post(body, texts)
            return decode_answer(raw, texts, self._options.dimensions)
        except TimeoutError as error:
            # An attempt that began just before the call's end says nothing about the endpoint.
            raise _AttemptError("timeout", unwell=remaining > limit / 2) from error
        except InvalidAnswerError as error:
            raise _AttemptError("invalid_answer") from error
        except httpx.TransportError as error:
            raise _AttemptError("connection", again=True) from error
        except httpx.HTTPError as error:
            raise _AttemptError("invalid_answer") from error

    async def _post(self, body: bytes, texts: int) -> bytes:
        if self._client is None:
            raise _AttemptError("closed", unwell=False)
        async with self._client.stream("POST", self._url, content=body) as response:
            status = response.status_code
            if status == 429 or status >= 500:
                hold = min(retry_after(response.headers.get("retry-after")) or 0.0, MAX_HOLD_SECONDS)
                raise _AttemptError(f"http_{status}", again=True, hold_seconds=hold)
            if status != 200:
                cause = f"http_{status}"
                raise _AttemptError(cause, unwell=cause not in INPUT_REFUSED)
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_ANSWER_BYTES_PER_TEXT * (texts + 1):
                    raise InvalidAnswerError("is too long")
            return bytes(raw)

    def _note(self, failed: _AttemptError) -> None:
        if failed.unwell and self._breaker.failed(failed.hold_seconds):
            seconds = failed.hold_seconds or self._options.breaker_seconds
            log.warning("embedder_left_alone", embedder=self._name, cause=failed.cause, seconds=round(seconds, 3))

    def _fail(self, cause: str, error: BaseException | None = None, hold_seconds: float = 0.0) -> NoReturn:
        if cause != "left_alone":  # said once, when it began
            log.warning("embedder_failed", embedder=self._name, cause=cause)
        raise DecisionError(
            Reason.EMBEDDER_UNAVAILABLE,
            f"The embedder {self._name!r} gave no vectors ({cause}); try again later, or configure a fallback.",
            metadata={"embedder": self._name, "cause": cause},
            retry_seconds=hold_seconds or DEFAULT_RETRY_SECONDS,
        ) from error


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _close(client: httpx.AsyncClient) -> None:
    current = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not current:
            task.cancel()
    await client.aclose()
