"""Which model gave which response, for requests that go on from one by its id."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_RESPONSES = 50_000
"""About 15 MB. The oldest are forgotten first."""
TTL_S = 6 * 3600.0
_READ_BYTES = 1 << 16
_MAX_ID_BYTES = 512
# In JSON and in the first event of a stream alike; servers make ids that begin so.
_ID = re.compile(rb'"id"\s*:\s*"(resp[^"\\]{1,%d})"' % _MAX_ID_BYTES)


class ResponseModels:
    """Models by the ids of their responses: bounded, and forgotten after a while.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def remember(self, response_id: str, model: str) -> None:
        """Note who gave a response."""
        self._models[response_id] = model, self._clock() + TTL_S
        self._models.move_to_end(response_id)
        while len(self._models) > MAX_RESPONSES:
            self._models.popitem(last=False)

    def model(self, response_id: object) -> str | None:
        """Who gave a response; None when that is not known, or no longer."""
        if not isinstance(response_id, str):
            return None
        model, until = self._models.get(response_id, (None, 0.0))
        if model is not None and self._clock() >= until:
            del self._models[response_id]
            return None
        return model

    def reader(self, model: str) -> Callable[[bytes], None]:
        """Takes the pieces of an answer of that model, and remembers the response's id when it has come."""
        begun = bytearray()
        done = False

        def read(piece: bytes) -> None:
            nonlocal done
            if done:
                return
            begun.extend(piece[: _READ_BYTES - len(begun)])
            found = _ID.search(begun)
            if found is not None:
                self.remember(found[1].decode("latin-1"), model)
            done = found is not None or len(begun) >= _READ_BYTES
            if done:
                begun.clear()

        return read
