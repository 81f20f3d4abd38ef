"""Modules that come with an extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingExtraError(ImportError):
    """An extra is not installed; the message names it."""


def missing_extra(module: str, extra: str, purpose: str) -> MissingExtraError:
    """The error for a module that is not installed."""
    return MissingExtraError(
        f"{purpose} needs {module}, which is not installed; run: pip install 'routing-client[{extra}]'", name=module
    )


def require(module: str, extra: str, purpose: str) -> Any:
    """Import `module`, which the extra `extra` installs.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the module is there, but not something that it needs
        raise missing_extra(module, extra, purpose) from None
