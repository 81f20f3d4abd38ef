"""The open `Calibrate` streams: how many, how long one may be silent, and which one is ended for a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from routing_service.config import LimitsConfig
from routing_service.errors import DecisionError, Reason

# When to retry if there are too many streams.
RETRY_SECONDS = 5.0
# A stream that has sent nothing for this long may be ended for a new one.
SILENT_SECONDS = 1.0


class OpenStream:
    """One stream, and whether it waits for its caller."""

    def __init__(self, clock: asyncio.Timeout, idle_seconds: float) -> None:
        self._clock, self._idle_seconds = clock, idle_seconds
        self._is_whole = self._is_ended = False
        self.silent_since: float | None = None
        """Since when it waits for its caller, by the event loop's clock; None while it does not wait."""
        self.why_ended = DecisionError(
            Reason.STREAM_IDLE,
            f"The stream sent nothing for {idle_seconds:g} seconds; end it when there are no more prompts.",
            metadata={"idle_seconds": f"{idle_seconds:g}"},
        )

    def wait(self) -> None:
        """Start waiting for the caller's next message.

        Raises:
            DecisionError: the stream was ended meanwhile.
        """
        if self._is_ended:
            raise self.why_ended
        self.silent_since = asyncio.get_running_loop().time()
        self._clock.reschedule(self.silent_since + self._idle_seconds)

    def work(self) -> None:
        """Stop the clock: now the server works, not the caller."""
        self.silent_since = None
        self._clock.reschedule(None)

    def has_all(self) -> None:
        """All prompts have arrived: the stream will end by itself."""
        self.work()
        self._is_whole = True

    def end(self, why: DecisionError) -> None:
        """End it with an error, unless it will end by itself."""
        if self._is_whole:
            return
        self.why_ended, self._is_ended = why, True
        with suppress(RuntimeError):  # its time has just run out
            self._clock.reschedule(asyncio.get_running_loop().time())


class OpenStreams:
    """At most `limits.max_open_calibrations` streams."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limit, self._idle_seconds = limits.max_open_calibrations, limits.calibration_idle_seconds
        self._streams: set[OpenStream] = set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._streams)

    def drain(self) -> None:
        """End every stream that could continue forever, and accept no more."""
        self._draining = True
        for stream in self._streams:
            stream.end(_draining())

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[OpenStream]:
        """A place for a stream while the context lasts.

        Raises:
            DecisionError: there is none, the stream has been silent for too long, or the server drains.
        """
        if self._draining:
            raise _draining()
        if len(self._streams) >= self._limit:
            self._make_room()
        stream: OpenStream | None = None
        try:
            async with asyncio.timeout(None) as clock:
                stream = OpenStream(clock, self._idle_seconds)
                self._streams.add(stream)
                yield stream
        except TimeoutError as error:
            if stream is None or not clock.expired():
                raise
            raise stream.why_ended from error
        finally:
            if stream is not None:
                self._streams.discard(stream)

    def _make_room(self) -> None:
        """End the stream that has been silent for the longest time."""
        now = asyncio.get_running_loop().time()
        silent = [(stream.silent_since, stream) for stream in self._streams if stream.silent_since is not None]
        since, stream = min(silent, key=lambda pair: pair[0], default=(now, None))
        if stream is None or now - since < SILENT_SECONDS:
            raise DecisionError(
                Reason.OVERLOADED,
                f"{self._limit:,} calibrations run, as many as this server takes; try again after a pause.",
                metadata={"limit_calibrations": str(self._limit)},
                retry_seconds=RETRY_SECONDS,
            )
        self._streams.discard(stream)
        stream.end(
            DecisionError(
                Reason.STREAM_IDLE,
                f"The stream sent nothing for {now - since:.0f} seconds, and another needed its place; send prompts "
                "without long pauses.",
                metadata={"idle_seconds": f"{now - since:.0f}"},
                retry_seconds=RETRY_SECONDS,
            )
        )


def _draining() -> DecisionError:
    return DecisionError(
        Reason.NOT_SERVING,
        "The server is stopping and cannot wait for the stream's end; calibrate at another, or again.",
    )
