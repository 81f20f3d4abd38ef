"""The configuration of an `openai` embedder, and its key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from routing_service.embedders.base import EmbedderContext
from routing_service.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class OpenAIOptions:
    """The configuration of an `openai` embedder."""

    model: str
    """The embedding model, as the endpoint calls it, e.g. text-embedding-3-small."""
    base_url: str = OPENAI_URL
    """Where the API is, without /embeddings."""
    api_key_env: str | None = None
    """The environment variable that holds the key. Without it no key is sent."""
    dimensions: int | None = None
    """The length of vector to ask for, where the model lets one choose; every answer must then have it."""
    encoding_format: Literal["base64", "float"] = "base64"
    """How vectors travel. base64 is a quarter of the size; either is understood whatever is asked for."""
    max_tokens: int = 8191
    """How many tokens of a text the model reads. A longer text that the endpoint refuses is sent once more, cut."""
    max_inputs: int = 64
    """The most texts in one request."""
    max_parallel_requests: int = 8
    """The most requests at a time; more wait."""
    timeout_seconds: float = 5.0
    """The time limit of a call in all: waiting, attempts and the pauses between them."""
    attempt_timeout_seconds: float = 3.0
    """The time limit of one attempt."""
    max_attempts: int = 3
    """How often a request is tried when the connection fails or the answer is 429 or 5xx. A timeout is not repeated."""
    breaker_failures: int = 5
    """After how many failed attempts in a row the endpoint is left alone for a while."""
    breaker_seconds: float = 5.0
    """For how many seconds it is then left alone."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must not be empty")
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("base_url must be like https://host/v1")
        if url.username or url.password:
            raise ValueError("base_url must not hold a user or password; name the key's variable in api_key_env")
        if self.base_url.rstrip("/") == OPENAI_URL and not self.api_key_env:
            raise ValueError("OpenAI needs a key; name the variable that holds it, e.g. api_key_env: OPENAI_API_KEY")
        limits = (
            ("dimensions", 1, 65_536),
            ("max_tokens", 1, 1_000_000),
            ("max_inputs", 1, 2048),
            ("max_parallel_requests", 1, 256),
            ("timeout_seconds", 0.01, 600.0),
            ("attempt_timeout_seconds", 0.01, self.timeout_seconds),
            ("max_attempts", 1, 10),
            ("breaker_failures", 1, 1000),
            ("breaker_seconds", 0.01, 600.0),
        )
        for name, least, most in limits:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}, not {value}")


def read_key(context: EmbedderContext, variable: str | None) -> str | None:
    """The key from the environment. It is checked here because an HTTP library's complaint would quote it."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise _key_error(context, f"the environment variable {variable} is not set or empty; it must hold the API key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise _key_error(context, f"the environment variable {variable} does not hold a key: it has odd characters")
    return key


def _key_error(context: EmbedderContext, problem: str) -> ConfigError:
    return context.section.error(problem, "api_key_env")
