"""Failing fast: after several failures in a row a remote gets only a single attempt now and then."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic


class CircuitBreaker:
    """Counts failures in a row and decides whether to try. Safe for threads.

    At first it is closed: every attempt is allowed. `failures` in a row open it. While it is open, one
    attempt is allowed every `open_seconds`. An attempt that succeeds, whenever it began, closes it.

    Args:
        failures: how many failures in a row open it, at least 1.
        open_seconds: the seconds between two attempts while it is open, more than 0.
        clock: a monotonic clock in seconds; for tests.
    """

    def __init__(self, failures: int, open_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._limit, self._open_seconds, self._clock = failures, open_seconds, clock
        self._lock = Lock()
        self._failures = 0
        self._next_attempt: float | None = None  # None while it is closed
        self._on_trial = False  # an attempt was allowed although it is open

    @property
    def is_open(self) -> bool:
        """Whether attempts are refused."""
        return self._next_attempt is not None

    def wait_seconds(self) -> float:
        """Ask for an attempt: 0 allows it; else the seconds to wait before asking again."""
        with self._lock:
            if self._next_attempt is None:
                return 0.0
            now = self._clock()
            if now < self._next_attempt:
                return self._next_attempt - now
            self._next_attempt, self._on_trial = now + self._open_seconds, True
            return 0.0

    def succeeded(self) -> bool:
        """The remote answered. Returns whether that closed the breaker."""
        with self._lock:
            was_open = self._next_attempt is not None
            self._failures, self._next_attempt, self._on_trial = 0, None, False
            return was_open

    def failed(self, hold_seconds: float = 0.0) -> bool:
        """The remote did not answer, or said that it cannot. Returns whether that opened the breaker.

        Args:
            hold_seconds: how long the remote asked for no requests; more than 0 opens the breaker for that long,
                whatever the count.
        """
        with self._lock:
            self._failures += 1
            self._on_trial = False
            was_closed = self._next_attempt is None
            if hold_seconds > 0.0 or self._failures >= self._limit:
                until = self._clock() + (hold_seconds or self._open_seconds)
                self._next_attempt = max(until, self._next_attempt or until)
            return was_closed and self._next_attempt is not None

    def inconclusive(self) -> None:
        """An attempt ended without showing whether the remote works. If the breaker is open, another may try now."""
        with self._lock:
            if self._on_trial:
                self._next_attempt, self._on_trial = self._clock(), False
