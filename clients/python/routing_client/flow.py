"""Flows: what a method does, without how its steps are done.

A flow is a generator. It yields a step (a call to make, a request to send), gets that step's result or error, and
returns the result of the whole. The synchronous and the asynchronous clients and the gateway run the same
flows; only how a step is done differs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Flow", "run", "run_async"]

Step = TypeVar("Step")
Result = TypeVar("Result")

Flow: TypeAlias = Generator[Step, Any, Result]


def run(flow: Flow[Step, Result], perform: Callable[[Step], Any]) -> Result:
    """Run a flow to its end in this thread, and close it whatever happens.

    Args:
        flow: Not begun yet.
        perform: Does one step. Its result is sent into the flow, and an `Exception` is thrown into it. Any
            other `BaseException`, such as `KeyboardInterrupt`, ends the flow and is raised.

    Raises:
        Exception: What the flow raises: its own errors, and those of steps that it does not catch.
    """
    try:
        step = next(flow)
        while True:
            try:
                result = perform(step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as end:
        returned: Result = end.value
        return returned
    finally:
        flow.close()


async def run_async(flow: Flow[Step, Result], perform: Callable[[Step], Awaitable[Any]]) -> Result:
    """`run` with steps that are awaited. Cancelling it cancels the step and closes the flow.

    Args:
        flow: Not begun yet.
        perform: As for `run`, awaited.

    Raises:
        Exception: As for `run`.
    """
    try:
        step = next(flow)
        while True:
            try:
                result = await perform(step)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as end:
        returned: Result = end.value
        return returned
    finally:
        flow.close()
