"""The length and the keyed digest of the text that was scored."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from routing_service.engine.asked import AskDigest
from routing_service.engine.types import Asked

KEY = b"a secret of sixteen bytes or more"
TEXTS = {"": 0, "hello": 5, "naïve": 6, "中文": 6, "𝄞": 4, "a\ud800b": 5}


@pytest.mark.parametrize(("text", "size"), TEXTS.items())
def test_the_length_is_in_bytes_of_utf_8_with_a_key_and_without(text: str, size: int) -> None:
    assert AskDigest().of(text) == Asked(size, "")
    keyed = AskDigest(KEY).of(text)
    assert keyed.length_bytes == size
    encoded = text.encode("utf-8", "surrogatepass")
    assert keyed.digest == hmac.new(KEY, encoded, hashlib.sha256).hexdigest()


def test_only_the_same_text_under_the_same_key_has_the_same_digest() -> None:
    digests = {AskDigest(key).of(text).digest for key in (KEY, KEY + b"!") for text in TEXTS}
    assert len(digests) == 2 * len(TEXTS)
    assert AskDigest(KEY).of("hello") == AskDigest(KEY).of("hello")
    assert hashlib.sha256(b"hello").hexdigest() not in digests
