"""The circuit breaker, against a clock of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routing_service.embedders.circuit_breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(failures: int = 3, open_seconds: float = 5.0) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(failures, open_seconds, clock), clock


def test_it_opens_at_the_last_of_so_many_failures_in_a_row() -> None:
    tested, _ = breaker()
    assert [tested.failed(), tested.failed()] == [False, False]
    assert tested.wait_seconds() == 0.0
    assert tested.failed() is True
    assert tested.wait_seconds() == 5.0
    assert tested.failed() is False, "it was open already"


def test_a_success_between_failures_starts_the_count_anew() -> None:
    tested, _ = breaker()
    for _ in range(10):
        tested.failed()
        tested.failed()
        assert tested.succeeded() is False
    assert tested.wait_seconds() == 0.0


def test_one_attempt_is_let_through_after_each_pause() -> None:
    tested, clock = breaker()
    for _ in range(3):
        tested.failed()
    clock.now += 4.0
    assert tested.wait_seconds() == 1.0
    clock.now += 1.0
    assert [tested.wait_seconds() for _ in range(3)] == [0.0, 5.0, 5.0]
    tested.failed()
    assert tested.wait_seconds() == 5.0
    clock.now += 5.0
    assert tested.wait_seconds() == 0.0
    assert tested.succeeded() is True
    assert [tested.wait_seconds() for _ in range(3)] == [0.0, 0.0, 0.0]


def test_an_attempt_that_says_nothing_does_not_block_it_for_ever() -> None:
    tested, clock = breaker()
    for _ in range(3):
        tested.failed()
    clock.now += 5.0
    assert tested.wait_seconds() == 0.0
    clock.now += 5.0
    assert tested.wait_seconds() == 0.0


def test_a_hold_opens_it_at_once_for_as_long_as_asked() -> None:
    tested, clock = breaker()
    assert tested.failed(hold_seconds=20.0) is True
    assert tested.wait_seconds() == 20.0
    tested.failed(hold_seconds=1.0)
    assert tested.wait_seconds() == 20.0, "a shorter hold does not cut a longer one"
    clock.now += 20.0
    assert tested.wait_seconds() == 0.0


@given(
    st.integers(1, 5),
    st.lists(st.one_of(st.just("ok"), st.just("fail"), st.floats(0.1, 10.0)), max_size=60),
)
def test_it_is_closed_unless_so_many_failures_came_last_and_then_lets_few_through(
    failures: int, events: list[str | float]
) -> None:
    tested, clock = breaker(failures, open_seconds=1.0)
    in_a_row, let_through_at = 0, -100.0
    for event in events:
        if isinstance(event, float):
            clock.now += event
        elif event == "ok":
            tested.succeeded()
            in_a_row = 0
        else:
            tested.failed()
            in_a_row += 1
        wait = tested.wait_seconds()
        if in_a_row < failures:
            assert wait == 0.0
        elif wait == 0.0:
            assert clock.now - let_through_at >= 1.0
            let_through_at = clock.now
        else:
            assert 0.0 < wait <= 1.0
