"""`openai`: vectors from any endpoint that answers `/v1/embeddings` as OpenAI does.

Calls do not hang, and a failing endpoint is not flooded: a call and each attempt have time limits, attempts are few and
have pauses with jitter, and after repeated failures calls fail at once for a while, without a request. See
`openai_call` for texts that the endpoint refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import structlog
from routing_client.proxies import Proxy, ProxyError, httpx_kinds, proxy_for_url

from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.embedders.openai_call import Call, Remote, TooLargeError
from routing_service.embedders.openai_endpoint import AttemptError, Blame, EmbeddingsEndpoint
from routing_service.embedders.openai_options import OpenAIOptions, read_key
from routing_service.embedders.openai_wire import Text, plan_requests
from routing_service.errors import DecisionError, Reason
from routing_service.extras import pip_install

if TYPE_CHECKING:
    import httpx

log = structlog.get_logger(__name__)

DEFAULT_RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0


class OpenAIEmbedder(Embedder):
    """Asks an OpenAI-compatible endpoint.

    Requests run on one event loop in a thread of their own, over pooled connections; `embed` waits for them.

    Args:
        name: its name in the configuration, for logs and errors.
        options: what to ask for, and the time limits.
        key: the bearer token, None to send none.
        transport: for tests, in place of the network.

    Raises:
        ProxyError: the environment names a proxy for the endpoint that cannot be used.
    """

    type: ClassVar[str] = "openai"
    options = OpenAIOptions
    # How it asks, not what it asks for.
    irrelevant_keys: ClassVar[frozenset[str]] = frozenset(
        (
            "api_key_env",
            "max_inputs",
            "max_parallel_requests",
            "timeout_seconds",
            "attempt_timeout_seconds",
            "max_attempts",
            "breaker_failures",
            "breaker_seconds",
        )
    )

    def __init__(
        self,
        name: str,
        options: OpenAIOptions,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(dimension=options.dimensions, max_tokens=options.known_max_tokens)
        self.concurrency = options.max_parallel_requests
        self.model = options.model
        self._name, self._options = name, options
        self._proxy: Proxy | None = None
        if transport is None:
            import httpx

            # Here and not in httpx, which reads the variables in another way and raises for some of their values.
            self._proxy = proxy_for_url(options.base_url, httpx_kinds())
            transport = httpx.AsyncHTTPTransport(
                limits=httpx.Limits(max_connections=options.max_parallel_requests, keepalive_expiry=30.0),
                proxy=None if self._proxy is None else httpx.Proxy(self._proxy.url),
            )
        self._remote = Remote(name, options, EmbeddingsEndpoint(options, key, transport))
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._closed = False

    @classmethod
    def build(cls, context: EmbedderContext) -> Self:
        """Read the options and the key. The endpoint is not called."""
        options = context.options(OpenAIOptions)
        try:
            import httpx  # noqa: F401 - imported here to notice at the start that it is missing
        except ImportError as error:
            problem = f"needs the package httpx; run: {pip_install('routing-service', 'openai')}"
            raise context.section.error(problem, "type") from error
        try:
            return cls(context.name, options, read_key(context, options.api_key_env))
        except ProxyError as error:
            raise context.section.error(f"cannot be reached: {error}", "base_url") from error

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Ask for the vectors of texts, with several requests at a time if there are many.

        A text that the endpoint refuses has its error in `errors`; the others are not affected.

        Raises:
            DecisionError: there is no vector at all: EMBEDDER_UNAVAILABLE, at the latest after `timeout_seconds`, or
                PROMPT_TOO_LARGE for a single text.
        """
        options = self._options
        requests = list(plan_requests(texts, options.max_batched_bytes, options.max_inputs, options.max_bytes))
        call = self._run(requests)
        vectors, errors = call.embedded(), self._errors(call, texts)
        if not vectors and (len(texts) == 1 or all(e.reason is Reason.EMBEDDER_UNAVAILABLE for e in errors.values())):
            raise errors[0]
        # If every text is too large, the endpoint has given another answer before.
        lengths = {len(each.vector) for each in vectors.values()} or {self._remote.dimension or 0}
        if len(lengths) > 1:
            raise self._unavailable(AttemptError("invalid_answer", Blame.ENDPOINT))
        rows = np.full((len(texts), lengths.pop()), np.nan, np.float32)
        truncated = [False] * len(texts)
        for place, each in vectors.items():
            rows[place], truncated[place] = each
        # An answer counts the tokens of its request as a whole.
        tokens = None if len(texts) > 1 or call.tokens is None else [call.tokens]
        return Embeddings(rows, tokens, truncated, errors)

    def close(self) -> None:
        """Close the connections and stop the thread; calls in progress fail."""
        with self._lock:
            loop, self._closed = self._loop, True
        if loop is None or loop.is_closed():
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_close(self._remote.endpoint), loop).result(CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self, requests: list[list[Text]]) -> Call:
        work = _finished(self._remote, requests)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._started())
        except RuntimeError:
            work.close()
            raise self._unavailable(AttemptError("closed", Blame.ENDPOINT)) from None
        try:
            return future.result()
        except CancelledError:
            raise self._unavailable(AttemptError("closed", Blame.ENDPOINT)) from None

    def _started(self) -> asyncio.AbstractEventLoop:
        """The event loop, started at the first call, after any fork."""
        with self._lock:
            if self._closed:
                raise RuntimeError("closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=_serve, args=(self._loop,), name=f"embedder-{self._name}", daemon=True)
                self._thread.start()
            return self._loop

    def _errors(self, call: Call, texts: Sequence[str]) -> dict[int, DecisionError]:
        """The errors by the texts' places; a cause is logged once for each call."""
        errors: dict[int, DecisionError] = {}
        outages: dict[AttemptError, DecisionError] = {}
        for place, failed in sorted(call.failed().items()):
            if isinstance(failed, TooLargeError):
                errors[place] = self._too_large(failed, texts[place])
                continue
            if failed not in outages:
                outages[failed] = self._unavailable(failed)
            errors[place] = outages[failed]
        return errors

    def _unavailable(self, failed: AttemptError) -> DecisionError:
        if failed.cause != "left_alone":  # logged once, when it started
            through = {} if self._proxy is None else {"proxy": str(self._proxy)}
            log.warning("embedder_failed", embedder=self._name, cause=failed.cause, **through)
        by_proxy = "" if self._proxy is None else f", through the proxy {self._proxy}"
        error = DecisionError(
            Reason.EMBEDDER_UNAVAILABLE,
            f"The embedder {self._name!r} gave no vectors ({failed.cause}{by_proxy}); try again later, or configure a "
            "fallback.",
            metadata={"embedder": self._name, "cause": failed.cause},
            retry_seconds=failed.hold_seconds or DEFAULT_RETRY_SECONDS,
        )
        error.__cause__ = failed
        return error

    def _too_large(self, failed: TooLargeError, text: str) -> DecisionError:
        size = len(text.encode("utf-8", "replace"))
        error = DecisionError(
            Reason.PROMPT_TOO_LARGE,
            f"The embedder {self._name!r} refuses this text of {size:,} bytes, even when it is cut ({failed.cause}); "
            "send less of it, or configure the embedder's max_tokens.",
            metadata={"bytes": str(size), "embedder": self._name, "cause": failed.cause},
        )
        error.__cause__ = failed
        return error


async def _finished(remote: Remote, requests: list[list[Text]]) -> Call:
    call = Call(remote)
    await call.run(requests)
    return call


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _close(endpoint: EmbeddingsEndpoint) -> None:
    current = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not current:
            task.cancel()
    await endpoint.close()
