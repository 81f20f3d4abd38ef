"""The configuration of an `openai` embedder, and its key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from routing_service.embedders.base import EmbedderContext
from routing_service.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"
# How many tokens OpenAI's models read.
KNOWN_MAX_TOKENS = {"text-embedding-3-small": 8191, "text-embedding-3-large": 8191, "text-embedding-ada-002": 8191}
# If it is not known how many tokens a model reads, a text of more bytes is sent alone.
MAX_BATCHED_TEXT_BYTES = 2048
# No language has more than 16 bytes for each token, and no embedding model reads more than 32,768 tokens: the rest is
# cut without asking.
BYTES_PER_TOKEN = 16
MAX_TOKENS_UNKNOWN = 32_768


@dataclass(frozen=True, slots=True)
class OpenAIOptions:
    """An `openai` embedder: any OpenAI-compatible `/v1/embeddings` endpoint.

    Example:
        embedders:
          openai: {type: openai, model: text-embedding-3-small, api_key_env: OPENAI_API_KEY}
          ollama: {type: openai, model: nomic-embed-text, base_url: "http://127.0.0.1:11434/v1"}
    """

    model: str
    """The endpoint's name for the embedding model, e.g. text-embedding-3-small."""
    base_url: str = OPENAI_URL
    """The API's address, without `/embeddings`."""
    api_key_env: str | None = None
    """The environment variable that holds the key. By default no key is sent; OpenAI itself needs one."""
    dimensions: int | None = None
    """The length of vector to ask for, for models that offer several. By default the model's own. From 1 to 65536."""
    encoding_format: Literal["base64", "float"] = "base64"
    """The encoding to ask for; both are accepted in answers. `base64` is a quarter of the size."""
    max_tokens: int | None = None
    """How many tokens of a text the model reads. By default 8191 for OpenAI's own models; for others it is not known. A
    text that the endpoint refuses is sent once more, cut to that or, where it is not known, to half. From 1 to
    1000000."""
    max_inputs: int = 64
    """The most texts in one request. From 1 to 2048."""
    max_parallel_requests: int = 8
    """The most requests at a time. Others wait. From 1 to 256."""
    timeout_seconds: float = 5.0
    """The time limit of a call: waiting, attempts and the pauses between them. From 0.01 to 600 seconds."""
    attempt_timeout_seconds: float = 3.0
    """The time limit of one attempt; at most `timeout_seconds`. From 0.01 to 600 seconds."""
    max_attempts: int = 3
    """The most attempts if the connection fails or the answer is 429 or 5xx. A timeout is not retried. From 1 to 10."""
    breaker_failures: int = 5
    """After this many failed attempts in a row, no requests are sent for `breaker_seconds`. From 1 to 1000."""
    breaker_seconds: float = 5.0
    """How long no requests are sent after `breaker_failures`. From 0.01 to 600 seconds."""

    @property
    def known_max_tokens(self) -> int | None:
        """How many tokens of a text the model reads, None if not known."""
        return KNOWN_MAX_TOKENS.get(self.model) if self.max_tokens is None else self.max_tokens

    @property
    def max_batched_bytes(self) -> int:
        """The most bytes of a text that is sent together with others; a longer one may be refused."""
        return self.known_max_tokens or MAX_BATCHED_TEXT_BYTES

    @property
    def max_bytes(self) -> int:
        """The most bytes of a text to send."""
        return BYTES_PER_TOKEN * (self.known_max_tokens or MAX_TOKENS_UNKNOWN)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must not be empty")
        try:
            url = urlsplit(self.base_url)
            sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:  # of a port that is none, or an IPv6 address without its bracket
            sound = False
        if not sound or url.query or url.fragment:
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
    """The key from the environment. It is checked here because an HTTP library's error message would quote it."""
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
