"""Identifies the scored text without showing it: its length, and a digest with a key.

Prompts are short and often repeated, so anyone could find the text of a plain digest by trying. Without the key, nobody
can try; with it, the same text has the same digest in every decision, log and process.
"""

from __future__ import annotations

import hmac

from routing_service.engine.types import Asked


class AskDigest:
    """Makes `Asked` of texts.

    Args:
        key: the secret; empty for no digests.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def of(self, text: str) -> Asked:
        """The text's length in bytes of UTF-8 and its HMAC-SHA256 as 64 hex digits, or "" without a key."""
        if not self._key:
            # An ASCII text has as many bytes as characters, and knows that it is one.
            return Asked(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")), "")
        encoded = text.encode("utf-8", "surrogatepass")
        return Asked(len(encoded), hmac.digest(self._key, encoded, "sha256").hex())
