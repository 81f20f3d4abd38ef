"""What of a request may hold a caller's key. Providers and proxies have dozens of names for it; more come every month.

So no list of names decides, but the words in a name and the form of a value. A header too many that is dropped costs
nothing; a key too many that is passed on is somebody else's to spend.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

_WORDS = frozenset({"auth", "bearer", "credential", "credentials", "jwt", "key", "pat", "sig", "signature", "token"})
_INSIDE = re.compile(
    "authori[sz]ation|authentication|api_?key|(access|auth|secret|session|subscription)(key|token)|secret|passw"
)
# These have such a word and hold no key: SDKs keep a retry from being counted twice, and pages of a list are asked for.
_HARMLESS = frozenset(
    {"idempotency-key", "x-idempotency-key", "page_token", "next_page_token", "continuation_token", "prompt_cache_key"}
)
_FORMS = re.compile(
    rb"\s*((bearer|basic|digest|negotiate|apikey|token|aws4-hmac-sha256)\s+\S|sk-|eyj[\w-]+\.[\w-]+\.)", re.IGNORECASE
)


def may_hold_key(name: bytes, value: bytes) -> bool:
    """Whether a header, its name in lower case, may hold a credential."""
    return _is_name_of_key(name.decode("latin-1")) or _FORMS.match(value) is not None


def without_keys(query: str) -> str:
    """A URL's query, still escaped, without the parameters that may hold a credential; the others stay as they are."""
    if not query:
        return query
    return "&".join(pair for pair in query.split("&") if not _holds_key(pair))


def _holds_key(pair: str) -> bool:
    name, _, value = pair.partition("=")
    return may_hold_key(unquote_plus(name).lower().encode(), unquote_plus(value).encode())


@lru_cache(maxsize=4096)
def _is_name_of_key(name: str) -> bool:
    if name in _HARMLESS:
        return False
    return not _WORDS.isdisjoint(re.split(r"[-_.]", name)) or _INSIDE.search(name) is not None
