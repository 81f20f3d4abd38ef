from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from routing_client.flow import Flow, run, run_async

Runner = Callable[[Flow[str, Any], Callable[[str], Any]], Any]


def run_by_awaiting(flow: Flow[str, Any], perform: Callable[[str], Any]) -> Any:
    async def awaited(step: str) -> Any:
        return perform(step)

    return asyncio.run(run_async(flow, awaited))


@pytest.fixture(params=[run, run_by_awaiting], ids=["sync", "async"])
def runner(request: pytest.FixtureRequest) -> Runner:
    chosen: Runner = request.param
    return chosen


def two_steps(seen: list[str]) -> Flow[str, str]:
    try:
        first = yield "first"
        try:
            second = yield "second"
        except ValueError as error:
            second = f"caught {error}"
        return f"{first}, {second}"
    finally:
        seen.append("closed")


def test_results_are_sent_and_the_flows_own_is_returned(runner: Runner) -> None:
    seen: list[str] = []
    assert runner(two_steps(seen), str.upper) == "FIRST, SECOND"
    assert seen == ["closed"]


def test_an_error_is_the_flows_to_catch(runner: Runner) -> None:
    def perform(step: str) -> str:
        if step == "second":
            raise ValueError("it")
        return step

    assert runner(two_steps([]), perform) == "first, caught it"


@pytest.mark.parametrize("error", [ValueError("early"), KeyError("late")])
def test_an_error_that_the_flow_does_not_catch_is_raised_as_it_is(runner: Runner, error: Exception) -> None:
    seen: list[str] = []

    def perform(step: str) -> str:
        if (step == "first") == isinstance(error, ValueError):
            raise error
        return step

    with pytest.raises(type(error)) as raised:
        runner(two_steps(seen), perform)
    assert raised.value is error
    assert seen == ["closed"]


def test_what_is_no_exception_ends_the_flow_at_once(runner: Runner) -> None:
    seen: list[str] = []

    def flow() -> Flow[str, None]:
        try:
            yield "only"
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    class Interrupted(BaseException):
        pass

    def perform(_step: str) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        runner(flow(), perform)
    assert seen == ["GeneratorExit"]


def test_cancelling_closes_the_flow_before_it_is_heard_of() -> None:
    seen: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def perform(_step: str) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(run_async(two_steps(seen), perform))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["closed"]

    asyncio.run(main())
