"""Structured logs on stderr. Prompts and secrets never get into them: callers log names, counts and classes only."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

from routing_service.config import ObservabilityConfig


def configure_logging(config: ObservabilityConfig) -> None:
    """Set up structlog for this process."""
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exception_without_message,
    ]
    if config.log_format == "json":
        processors.append(structlog.processors.JSONRenderer())
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[config.log_level.upper()]),
        # One write for each line: the lines of several workers do not mix.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def exception_without_message(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `exc_info` by the exception's class and its frames.

    The message is left out: a parser's, a tokenizer's or a codec's message may quote the prompt.
    """
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["raised"] = exception_summary(error)
    return event


def exception_summary(error: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes as classes and frames, without messages and values, for the log.

    Code that handles prompts logs this itself, because a logger without configuration prints every local variable.
    """
    return [_summary(e) for e in _chain(error)]


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _summary(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "frames": _frames(error.__traceback__)}


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
