"""The gateway benchmark's own judgement, and its upstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import gateway_load
from benchmarks.gateway import Figure, Target, in_turns, table, targets
from benchmarks.gateway_load import ChatTarget
from tests.support.waiting import address_in

ENDPOINT = ChatTarget("127.0.0.1:1", "router-static-0.5", "hello")
REPORT = """
requests: {done} total, {done} started, {done} done, {good} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {errors} 5xx
"""


def figures(ours: float = 900, theirs: float = 300, added: float = 1.0, first: float = 1.0) -> list[Figure]:
    return [
        Figure("rate", "requests/s", {"ours": [ours, ours / 2], "routellm": [theirs, theirs / 2]}),
        Figure("latency", "ms", {"direct": [0.1, 0.2], "ours": [0.1 + added, 0.2 + added]}),
        Figure("first", "ms", {"direct": [0.1, 0.2], "ours": [0.1 + first, 0.2 + first]}),
    ]


@pytest.mark.parametrize(
    ("measured", "met"),
    [
        (figures(), [True, True, True]),
        (figures(ours=890), [False, True, True]),
        (figures(added=5.1), [True, False, True]),
        (figures(first=2.1), [True, True, False]),
    ],
)
def test_targets_are_held_pair_by_pair(measured: list[Figure], met: list[bool]) -> None:
    # The second pair was measured in a slow spell that both sides shared.
    assert [target.met for target in targets(measured)] == met


def test_without_the_peer_there_is_no_ratio() -> None:
    alone = figures()
    del alone[0].turns["routellm"]
    assert len(targets(alone)) == 2


def test_a_missed_target_is_said() -> None:
    assert str(Target("x", 2.5, "times", 3, at_least=True)) == "x: 2.50 times (>= 3: NO)"


def test_the_table() -> None:
    assert table(figures()).splitlines()[2] == "| rate, requests/s |  | 675 | 225 |"


def test_sides_take_turns_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def measure(endpoint: ChatTarget) -> float:
        order.append(endpoint.model)
        return float(len(order))

    sides = {name: ChatTarget("", name, "") for name in ("a", "b")}
    assert in_turns(Figure("x", "ms"), sides, 2, measure).turns == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert order == ["a", "b"] * 3


@pytest.mark.parametrize(("good", "failed", "errors"), [(49, 1, 0), (0, 0, 0), (49, 0, 1)])
def test_failed_requests_are_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, good: int, failed: int, errors: int
) -> None:
    said = REPORT.format(done=50, good=good, failed=failed, errors=errors)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: subprocess.CompletedProcess([], 0, said))
    with pytest.raises(RuntimeError, match="requests failed"):
        gateway_load.throughput(ENDPOINT, tmp_path / "body", 0, 1, 1)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[str]:
    ready = tmp_path / "upstream.ready"
    command = [sys.executable, "-m", "benchmarks.gateway_upstream", "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2]) as process:
        try:
            yield address_in(ready, process)
        finally:
            process.terminate()


def test_the_upstream_answers_plainly_and_in_streams(upstream: str) -> None:
    endpoint = ChatTarget(upstream, "any", "hello")
    endpoint.check()
    assert 0 <= gateway_load.first_byte_ms(endpoint, min(os.sched_getaffinity(0)), 3) < 1000


def test_what_is_no_answer_is_not_measured(upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda _: {"object": "error"})
    with pytest.raises(RuntimeError, match="answered 200"):
        ChatTarget(upstream, "any", "hello").check()
