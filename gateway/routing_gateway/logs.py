"""What the gateway logs: names, counts and classes. Never a prompt, a key, or a message that may quote one."""

from __future__ import annotations

import asyncio
import logging
import traceback

from routing_gateway.errors import SERVER, GatewayError

log = logging.getLogger("routing_gateway")


def fault(label: str, error: Exception) -> GatewayError:
    """Log an exception that nobody expected, as its class and the places it passed. Gives what to answer."""
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("%s: %s at %s", label, type(error).__qualname__, " < ".join(reversed(frames)))
    return GatewayError(500, "a fault of the gateway", kind=SERVER, code="internal_error")


class ServerNoise(logging.Filter):
    """Keeps from uvicorn's log what is no fault: answers that are cut off on purpose, and have been logged as such."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        cut_off = record.getMessage() == "ASGI callable returned without completing response."
        return not (cut_off or kind is asyncio.CancelledError)


class Repeats(logging.Filter):
    """Lets warnings of one kind through once in an interval, and says how many were left out since the last one.

    An outage makes one for each request, which are thousands a second. A kind is the message without its values.

    Args:
        interval_s: Seconds.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, str(record.msg))
        until, left_out = self._kinds.get(kind, (0.0, 0))
        if record.created < until:
            self._kinds[kind] = until, left_out + 1
            return False
        self._kinds[kind] = record.created + self._interval_s, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it before)", None
        return True
