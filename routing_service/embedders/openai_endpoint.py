"""One HTTP request to an OpenAI-compatible `/v1/embeddings`, and the cause of its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from routing_service.embedders.openai_options import OpenAIOptions
from routing_service.embedders.openai_wire import (
    EmbeddingsResponse,
    InvalidResponseError,
    Text,
    decode_answer,
    encode_request,
    retry_after,
)

if TYPE_CHECKING:
    import httpx

# Even if an endpoint asks for a longer pause, it is tried again after this.
MAX_HOLD_SECONDS = 60.0
# A float32 as JSON is at most about 25 bytes, so this allows vectors of 10,000 numbers and stops an endless answer.
MAX_ANSWER_BYTES_PER_TEXT = 262_144
# An endpoint's answers to a wrong input, while it works.
INPUT_REFUSED = frozenset((400, 413, 422))


class Blame(Enum):
    """What caused a failed attempt."""

    INPUT = auto()
    ENDPOINT = auto()
    # Text or endpoint: llama.cpp answers 500 to a text that is too long, others drop the connection or are too slow.
    UNCLEAR = auto()


class AttemptError(Exception):
    """An attempt that gave no vectors.

    Args:
        cause: a word for logs and metadata.
        blame: what caused it.
        again: whether a retry of the same request may help.
        fair: whether the endpoint had enough time; if not, the failure says nothing about it.
        hold_seconds: how long the endpoint asked for no requests.
    """

    def __init__(
        self, cause: str, blame: Blame, *, again: bool = False, fair: bool = True, hold_seconds: float = 0.0
    ) -> None:
        self.cause, self.blame, self.again, self.fair, self.hold_seconds = cause, blame, again, fair, hold_seconds
        super().__init__(cause)


class EmbeddingsEndpoint:
    """Posts texts and reads vectors, over pooled connections.

    Args:
        options: what to ask for.
        key: the bearer token, None to send none.
        transport: sends the requests.
    """

    def __init__(self, options: OpenAIOptions, key: str | None, transport: httpx.AsyncBaseTransport) -> None:
        import httpx

        self._options = options
        self._url = f"{options.base_url.rstrip('/')}/embeddings"
        headers = {"Content-Type": "application/json", "User-Agent": "routing-service"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=None,  # noqa: S113 - its timeouts limit single steps; `attempt` limits the whole
            transport=transport,
            trust_env=False,  # the transport has the proxy already
        )

    async def attempt(self, texts: Sequence[Text], remaining: float) -> EmbeddingsResponse:
        """Send one request.

        Args:
            texts: at least one.
            remaining: the seconds that the call has left.

        Raises:
            AttemptError: it gave no vectors.
        """
        import httpx

        options = self._options
        body = encode_request(texts, options.model, options.encoding_format, options.dimensions)
        limit = options.attempt_timeout_seconds
        try:
            async with asyncio.timeout(min(limit, remaining)):
                raw = await self._post(body, len(texts))
            return decode_answer(raw, len(texts), options.dimensions)
        except TimeoutError as error:
            # An attempt that began just before the call's end says nothing about the endpoint.
            raise AttemptError("timeout", Blame.UNCLEAR, fair=remaining > limit / 2) from error
        except InvalidResponseError as error:
            raise AttemptError("invalid_answer", Blame.UNCLEAR) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            raise AttemptError("connection", Blame.ENDPOINT, again=True) from error
        except httpx.TransportError as error:
            raise AttemptError("connection", Blame.UNCLEAR, again=True) from error
        except httpx.HTTPError as error:
            raise AttemptError("invalid_answer", Blame.UNCLEAR) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, body: bytes, texts: int) -> bytes:
        async with self._client.stream("POST", self._url, content=body) as response:
            _check(response)
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_ANSWER_BYTES_PER_TEXT * (texts + 1):
                    raise InvalidResponseError("is too long")
            return bytes(raw)


def _check(response: Any) -> None:
    """Raise the error for a status other than 200."""
    status, cause = response.status_code, f"http_{response.status_code}"
    if status == 200:
        return
    if status in INPUT_REFUSED:
        raise AttemptError(cause, Blame.INPUT)
    hold = min(retry_after(response.headers.get("retry-after")) or 0.0, MAX_HOLD_SECONDS)
    if status >= 500 and not hold:
        raise AttemptError(cause, Blame.UNCLEAR, again=True)
    raise AttemptError(cause, Blame.ENDPOINT, again=status == 429 or status >= 500, hold_seconds=hold)
