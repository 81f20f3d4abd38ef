"""Scoring outside the event loop, for routers that take milliseconds. Waiting prompts are batched and limited.

There is no artificial delay: a batch starts as soon as a worker is free, with all prompts that wait by then (as in
huggingface/text-embeddings-inference, `core/src/queue.rs`). A caller that has gone, or whose deadline has passed, has
cancelled its future, and its prompt is dropped before it is scored.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter_ns

import structlog

from routing_service.engine.scoring import Scored, score
from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.observability.logging import exception_summary
from routing_service.routers.base import Router

log = structlog.get_logger(__name__)

# A batch has at most this many prompts and characters (one long prompt may have more): about 16,000 tokens.
BATCH_PROMPTS = 64
BATCH_CHARACTERS = 65_536
# The most prompts that a caller may queue behind, and the most memory of their texts.
DEFAULT_MAX_WAITING = 4096
DEFAULT_MAX_WAITING_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 0.1


@dataclass(slots=True)
class _Waiting:
    """A prompt in the queue. The future's result is a `Scored` or a `DecisionError`, never an exception."""

    text: str
    models: ModelPair
    future: asyncio.Future[Scored | DecisionError]
    since_ns: int = field(default_factory=perf_counter_ns)

    @property
    def bytes(self) -> int:
        """The memory of the text."""
        return sys.getsizeof(self.text)


class Batcher:
    """Scores prompts of one router in worker threads.

    Args:
        router: scores; `router.concurrency` batches run at a time.
        max_waiting: how many prompts may wait. One more is refused at once.
        max_waiting_bytes: how much memory the texts of waiting prompts may take. A prompt that would need more is
            refused at once; when none waits, a longer one is taken too.
    """

    def __init__(
        self,
        router: Router,
        max_waiting: int = DEFAULT_MAX_WAITING,
        max_waiting_bytes: int = DEFAULT_MAX_WAITING_BYTES,
    ) -> None:
        self._router, self._max_waiting, self._max_waiting_bytes = router, max_waiting, max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(router.concurrency, thread_name_prefix=f"score-{router.type}")
        self._closed = False

    async def score(self, text: str, models: ModelPair) -> Scored | DecisionError:
        """Score one prompt, together with others that wait. Cancelling this drops the prompt from the queue.

        An error is returned, not raised: OVERLOADED when too many wait, NOT_SERVING once this is closed, or whatever
        kept the prompt from a score.
        """
        loop = asyncio.get_running_loop()
        item = _Waiting(text, models, loop.create_future())
        if self._has_no_room(item):
            self._drop_stale()
        if self._has_no_room(item):
            return DecisionError(
                Reason.OVERLOADED,
                f"{len(self._waiting):,} prompts of {self._waiting_bytes:,} bytes wait for the {self._router.type} "
                "router; try again after a pause.",
                metadata={"router_type": self._router.type},
                retry_seconds=RETRY_SECONDS,
            )
        self._waiting.append(item)
        self._waiting_bytes += item.bytes
        if len(self._workers) < self._router.concurrency:
            self._workers.add(loop.create_task(self._work()))
        return await item.future

    def close(self) -> None:
        """Stop the worker threads once their batches are done. What still waits is answered with NOT_SERVING."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        """Score batches until nothing waits; then this worker is gone at once, and the next prompt starts another."""
        try:
            while batch := self._next_batch():
                await self._score(batch)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._workers.discard(task)

    async def _score(self, batch: list[_Waiting]) -> None:
        texts, models = [item.text for item in batch], batch[0].models
        start_ns = perf_counter_ns()
        results: Sequence[Scored | DecisionError]
        try:
            if self._closed:
                stopping = DecisionError(Reason.NOT_SERVING, "The server is stopping; ask another, or again.")
                results = [stopping] * len(batch)
            else:
                loop = asyncio.get_running_loop()
                results = await loop.run_in_executor(self._threads, score, self._router, texts, models)
        except Exception as error:
            # `score` returns errors; if it raises, no caller may be left waiting.
            log.error("batch_failed", router=self._router.type, raised=exception_summary(error))
            failed = DecisionError(Reason.INTERNAL, "The server failed on this request; its log has the cause.")
            results = [failed] * len(batch)
        for item, result in zip(batch, results, strict=True):
            if isinstance(result, Scored):
                result.queue_us = (start_ns - item.since_ns) / 1e3
            if not item.future.done():
                item.future.set_result(result)

    def _next_batch(self) -> list[_Waiting]:
        """The longest-waiting prompts that share a pair of models, up to the budget."""
        self._drop_stale()
        batch = list(islice(self._affordable(), BATCH_PROMPTS))
        for item in batch:
            self._waiting.popleft()
            self._waiting_bytes -= item.bytes
        return batch

    def _has_no_room(self, item: _Waiting) -> bool:
        if len(self._waiting) >= self._max_waiting:
            return True
        return bool(self._waiting) and self._waiting_bytes + item.bytes > self._max_waiting_bytes

    def _affordable(self) -> Iterator[_Waiting]:
        characters, models = 0, None
        for item in self._waiting:
            characters += len(item.text)
            if models is not None and (item.models != models or characters > BATCH_CHARACTERS):
                return
            models = item.models
            yield item

    def _drop_stale(self) -> None:
        if any(item.future.done() for item in self._waiting):
            self._waiting = deque(item for item in self._waiting if not item.future.done())
            self._waiting_bytes = sum(item.bytes for item in self._waiting)
