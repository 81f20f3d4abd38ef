from __future__ import annotations

import json
import sys

import pytest
import structlog

from routing_service.config import ObservabilityConfig
from routing_service.observability.logging import configure_logging, exception_summary

SECRET = "a secret prompt"


def look_up() -> None:
    raise KeyError(SECRET)


def decode() -> None:
    try:
        look_up()
    except KeyError as error:
        raise ValueError(f"cannot decode {SECRET}") from error


def raised() -> Exception:
    with pytest.raises(ValueError, match=SECRET) as caught:
        decode()
    return caught.value


def test_json_logs_are_one_object_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(ObservabilityConfig())
    log = structlog.get_logger("x")
    log.info("serving", address="127.0.0.1:1", prompts=3)
    log.warning("odd", text="é\n")
    out, err = capsys.readouterr()
    first, second = map(json.loads, err.splitlines())
    assert out == ""
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "serving", "level": "info", "address": "127.0.0.1:1", "prompts": 3}
    assert (second["level"], second["text"]) == ("warning", "é\n")


def test_values_bound_to_the_context_are_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(ObservabilityConfig())
    structlog.contextvars.bind_contextvars(worker=2)
    structlog.get_logger("x").error("odd")
    assert json.loads(capsys.readouterr().err)["worker"] == 2


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_less_severe_lines_are_left_out(capsys: pytest.CaptureFixture[str], level: str) -> None:
    configure_logging(ObservabilityConfig(log_level=level))  # type: ignore[arg-type] # one of its literals
    log = structlog.get_logger("x")
    levels = ["debug", "info", "warning", "error"]
    for name in levels:
        getattr(log, name)("event")
    written = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert written == levels[levels.index(level) :]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_logged_by_class_and_frames_without_its_message(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure_logging(ObservabilityConfig(log_format=log_format))  # type: ignore[arg-type] # one of its literals
    log = structlog.get_logger("x")
    log.error("failed", exc_info=raised())
    try:
        decode()
    except ValueError:
        log.exception("failed")
        log.error("failed", exc_info=sys.exc_info())  # noqa: G201 - the form that the standard library has
    err = capsys.readouterr().err
    assert SECRET not in err
    lines = [line for line in err.splitlines() if "failed" in line]
    assert len(lines) == 3
    for line in lines:
        assert "ValueError" in line
        assert "KeyError" in line, "the cause is named as well"
        assert "test_logging.py" in line


def test_a_line_without_an_exception_says_nothing_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(ObservabilityConfig())
    structlog.get_logger("x").error("odd", exc_info=True)
    assert set(json.loads(capsys.readouterr().err)) == {"event", "level", "timestamp"}


def test_a_summary_names_an_exception_and_its_causes() -> None:
    summary = exception_summary(raised())
    assert [each["type"] for each in summary] == ["builtins.ValueError", "builtins.KeyError"]
    assert any("test_logging.py" in frame and frame.endswith(" decode") for frame in summary[0]["frames"])
    assert SECRET not in str(summary)


def test_causes_that_go_round_in_a_circle_end() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    assert [each["type"] for each in exception_summary(one)] == ["builtins.ValueError", "builtins.KeyError"]


def test_logging_may_be_configured_again(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(ObservabilityConfig(log_format="console"))
    log = structlog.get_logger("x")
    log.info("first")
    configure_logging(ObservabilityConfig(log_level="error"))
    log.info("second")
    log.error("third")
    first, third = capsys.readouterr().err.splitlines()
    assert "first" in first
    assert json.loads(third)["event"] == "third"
