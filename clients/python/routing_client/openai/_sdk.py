"""Facts about the SDK: its HTTP library, its failures."""

from __future__ import annotations

import importlib
from typing import Any

from routing_client._extras import missing_extra

__all__ = ["OFFICIAL_HOST", "http", "openai", "why_failed"]

try:
    import openai
except ModuleNotFoundError as error:
    if error.name != "openai":
        raise
    raise missing_extra("openai", "openai", "routing_client.openai") from None

http: Any = importlib.import_module(
    next(base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__ if "httpx" in base.__module__)
)
"""The library whose clients and transports the SDK takes: `httpx2`, and `httpx` in its older versions."""

OFFICIAL_HOST = "api.openai.com"

# The SDK itself retries 408, 409 and 5xx. 409 is left out: another model does not solve a conflict.
_FAILED = frozenset({408, 429})


def why_failed(error: Exception) -> str | None:
    """The failure's name, if another model may not have it; None for all others."""
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    if isinstance(error, openai.APIConnectionError):
        return "connection"
    if isinstance(error, openai.APIStatusError) and (error.status_code in _FAILED or error.status_code >= 500):
        return str(error.status_code)
    return None
