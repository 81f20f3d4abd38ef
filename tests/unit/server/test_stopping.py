from __future__ import annotations

import asyncio
import os
import signal
from typing import NoReturn

import pytest

from routing_service.server import stopping as module
from routing_service.server.stopping import Stopping, asked


class EndedAtOnceError(Exception):
    """In the place of the process's end."""


@pytest.fixture(autouse=True)
def no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> NoReturn:
        raise EndedAtOnceError(code)

    monkeypatch.setattr(module, "end_at_once", end)


def tell(number: int) -> None:
    """Send a signal to this process; its handler has run when this returns."""
    signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_anything_has_begun_a_signal_ends_the_process(number: int) -> None:
    with Stopping(), pytest.raises(EndedAtOnceError, match=r"^0$"):
        tell(number)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("second", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_asks_and_the_second_ends(first: int, second: int, code: int) -> None:
    woken, ended = [], []
    with Stopping() as stopping:
        stopping.begin(wake=lambda: woken.append(1), before_end=lambda: ended.append(1))
        assert not stopping.is_asked
        tell(first)
        assert (stopping.is_asked, woken, ended) == (True, [1], [])
        with pytest.raises(EndedAtOnceError, match=f"^{code}$"):
            tell(second)
        assert ended == [1]


def test_a_worker_drains_however_often_it_is_told() -> None:
    with Stopping(is_worker=True) as stopping:
        stopping.begin()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            tell(number)
        assert stopping.is_asked


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_hang_ups_are_logged_once_and_handlers_are_set_back(
    before: signal.Handlers, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = {number: signal.signal(number, before) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    try:
        with Stopping() as stopping:
            stopping.log_hang_up()
            assert capsys.readouterr().out == ""
            for _ in range(2):
                tell(signal.SIGHUP)
                stopping.log_hang_up()
            assert not stopping.is_asked
            assert capsys.readouterr().out.count("hang_up_ignored") == 1
        assert [signal.getsignal(number) for number in earlier] == [before] * 3
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


async def test_the_event_loop_waits_for_the_first_signal_and_passes_over_hang_ups() -> None:
    with Stopping() as stopping:
        waiting = asyncio.create_task(asked(stopping))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(waiting, 60)
