"""Long work on the event loop, in turns: it lets other calls run in between."""

from __future__ import annotations

import asyncio
from time import perf_counter

# How long one caller's work may run before others have a turn. A single step can take longer.
TURN_SECONDS = 0.002


class Pace:
    """One caller's work. After each step ask `is_due`; if so, await `rest`."""

    def __init__(self) -> None:
        self._until = perf_counter() + TURN_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether this turn is over."""
        return perf_counter() >= self._until

    async def rest(self) -> None:
        """Let others have a turn, then begin the next one."""
        await yield_to_others()
        self._until = perf_counter() + TURN_SECONDS


async def yield_to_others() -> None:
    """Let other calls run. If the caller has gone, its call is cancelled here.

    gRPC delivers calls from its own thread, so one turn of the event loop would not be enough.
    """
    await asyncio.sleep(0.001)
