"""Long work on the event loop, in turns: whoever has much to do lets the others in between."""

from __future__ import annotations

import asyncio
from time import perf_counter

# How long one caller's work may go on before others have a turn. A single step of it can take longer.
TURN_SECONDS = 0.002


class Pace:
    """One caller's work. Ask `is_due` after each step of it, and `rest` when it is."""

    def __init__(self) -> None:
        self._until = perf_counter() + TURN_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether it has gone on for a turn."""
        return perf_counter() >= self._until

    async def rest(self) -> None:
        """Let others have a turn, and begin the next."""
        await yield_to_others()
        self._until = perf_counter() + TURN_SECONDS


async def yield_to_others() -> None:
    """Let other calls in; a call whose caller has gone is cancelled here.

    gRPC hands calls over from a thread of its own, so that one turn of the event loop would not be enough.
    """
    await asyncio.sleep(0.001)
