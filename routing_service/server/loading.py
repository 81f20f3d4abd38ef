"""Loading what is to be served, in a thread that nothing waits for: it may hang, and cannot be ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from routing_service.errors import ServerError

T = TypeVar("T")


class LoadingAbandonedError(ServerError):
    """Loading goes on in a thread, and nothing is to wait for it. The process has to be ended, not left.

    Args:
        message: what is wrong, empty when nothing is.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = 1 if message else 0


async def load(function: Callable[[], T], stop: asyncio.Task[None], seconds: float) -> T:
    """Run `function` in a thread of its own, until it returns or `stop` is done.

    Args:
        function: what loads.
        stop: done when the process is to stop.
        seconds: the longest that loading may take.

    Raises:
        LoadingAbandonedError: the process is to stop, or it takes too long.
        Exception: what `function` raises.
    """
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if loaded.cancelled():
            return
        if error is None:
            loaded.set_result(result)  # type: ignore[arg-type] # a result where there is no error
        else:
            loaded.set_exception(error)

    def work() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except StopIteration as raised:  # a future takes any exception but this
            error = RuntimeError("loading raised StopIteration")
            error.__cause__ = raised
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="load", daemon=True).start()
    either: list[asyncio.Future[Any]] = [loaded, stop]
    await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        loaded.cancel()
        raise LoadingAbandonedError
    if not loaded.done():
        loaded.cancel()
        raise LoadingAbandonedError(
            f"the routers were not loaded within {seconds:g} seconds (server.start_seconds); a slow disk, or an "
            "endpoint that does not answer, may be the cause"
        )
    return loaded.result()
