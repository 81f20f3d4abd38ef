"""The benchmark's own judgement: what counts as an answer, as a ratio, and as a target met."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.decision import FOLDER, Result, read_prompts, table

CALL = load.Call("Decide", Path("unused"), answer_bytes=100)
REPORT = """
requests: {done} total, {done} started, {done} done, {good} succeeded, {failed} failed, 0 errored, 0 timeout
traffic: 1.85MB (1937829) total, 41.99KB (42999) headers (space savings 96.29%), 1.92MB ({data}) data
"""


def succeeded(done: int, good: int, failed: int, data: int) -> int:
    return load._succeeded(REPORT.format(done=done, good=good, failed=failed, data=data), CALL)


def test_good_answers_are_counted() -> None:
    assert succeeded(50, 50, 0, 5_000) == 50
    assert succeeded(50, 50, 0, 5_300) == 50


@pytest.mark.parametrize(
    ("done", "good", "failed", "data", "says"),
    [
        (50, 49, 1, 4_900, "requests failed"),
        (0, 0, 0, 0, "requests failed"),
        # HTTP says 200, yet a fifth of the answers had no message: gRPC errors.
        (50, 50, 0, 4_000, "gRPC errors"),
    ],
)
def test_bad_answers_are_not_measured(done: int, good: int, failed: int, data: int, says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        succeeded(done, good, failed, data)


def test_output_that_is_no_report_is_refused() -> None:
    with pytest.raises(RuntimeError, match="could not connect"):
        load._succeeded("could not connect to host", CALL)


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    # The second pair was measured in a slow spell: both sides halved, the ratio kept.
    result = Result("x", "calls/s", ours=[80.0, 40.0, 90.0], echo=[100.0, 50.0, 100.0])
    assert result.ratio == pytest.approx(0.8)
    assert result.require(at_least=0.75).met is True
    assert result.require(at_least=0.85).met is False
    assert result.require(at_most=0.75).met is False


def test_without_a_peer_the_median_itself_is_held() -> None:
    result = Result("resident memory", "MB", ours=[100.0, 300.0, 120.0])
    assert result.require(at_most=200).met is True
    assert "| 120 MB |  |  | <= 200 | yes |" in table([result])


def test_in_flight_requests_are_shared_evenly() -> None:
    with pytest.raises(ValueError, match="cannot be divided"):
        load.throughput("127.0.0.1:1", [CALL] * 5, core=0, in_flight=32, seconds=1)


def test_prompts_are_of_every_length_and_script() -> None:
    prompts = read_prompts(FOLDER / "prompts.jsonl")
    assert list(prompts) == ["short", "medium", "code", "foreign", "long"]
    assert sum(map(len, prompts.values())) >= 8
    assert not any(prompt.isascii() for prompt in prompts["foreign"])
    assert all(len(prompt) > 2_000 for prompt in prompts["long"])
