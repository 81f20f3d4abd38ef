from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from routing_service.server.loading import LoadingAbandonedError, load

LONG = 1000.0


@pytest.fixture
async def stop() -> AsyncIterator[asyncio.Task[None]]:
    """Never done."""

    async def never() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(never())
    yield task
    task.cancel()


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """Set once what hangs does so; the threads end with the test."""
    over = threading.Event()
    yield over
    over.set()


async def test_what_is_loaded_is_returned_from_a_thread_that_ends_nothing(stop: asyncio.Task[None]) -> None:
    assert (await load(threading.current_thread, stop, LONG)).daemon is not False


async def test_an_error_is_raised_as_it_is(stop: asyncio.Task[None]) -> None:
    def fail() -> None:
        raise SystemExit("a plug-in's")

    with pytest.raises(SystemExit, match="a plug-in's"):
        await load(fail, stop, LONG)


async def test_an_iterator_that_ends_too_early_is_an_error_as_well(stop: asyncio.Task[None]) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await load(lambda: next(iter([])), stop, LONG)


async def test_a_hang_is_left_when_the_process_is_to_stop(hang: threading.Event) -> None:
    asked = asyncio.Event()

    def begin() -> None:
        loop.call_soon_threadsafe(asked.set)
        hang.wait()

    async def until_asked() -> None:
        await asked.wait()

    loop = asyncio.get_running_loop()
    with pytest.raises(LoadingAbandonedError) as caught:
        await load(begin, asyncio.create_task(until_asked()), LONG)
    assert (str(caught.value), caught.value.exit_code) == ("", 0)


async def test_a_hang_is_left_when_its_time_is_over(stop: asyncio.Task[None], hang: threading.Event) -> None:
    with pytest.raises(LoadingAbandonedError, match=r"not loaded within 0\.01 seconds") as caught:
        await load(hang.wait, stop, 0.01)
    assert caught.value.exit_code == 1


async def test_what_was_loaded_too_late_is_not_served(stop: asyncio.Task[None]) -> None:
    stop.cancel()
    await asyncio.wait([stop])
    with pytest.raises(LoadingAbandonedError):
        await load(lambda: None, stop, LONG)
