"""The engine's requests and answers, without any wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from routing_service.errors import Reason


class Tier(IntEnum):
    """A side of the model pair. The values are those of the proto's `Tier`."""

    STRONG = 1
    WEAK = 2


class DecisionReason(IntEnum):
    """Why a tier was chosen. The values are those of the proto's `DecisionReason`."""

    THRESHOLD = 1
    FALLBACK = 3
    RULE = 4
    ABSTAINED = 5


class ScoreSource(IntEnum):
    """Where a score came from. The values are those of the proto's `ScoreSource`."""

    FRESH = 1
    CACHED = 2
    NONE = 3


class Span(NamedTuple):
    """A part of the text that was read: the message and its part, from 0, and bytes of UTF-8 from `begin` to `end`."""

    message: int
    part: int
    begin: int
    end: int


class Asked(NamedTuple):
    """Identifies the scored text: its length in bytes of UTF-8, and its keyed digest, empty without a key."""

    length_bytes: int
    digest: str


@dataclass(slots=True)
class RouteRequest:
    """A request for one decision.

    `text` is scored; `skipped_parts` counts the skipped parts without text. Of `threshold`,
    `strong_share` and `policy` (empty: none) at most one is set. Empty names mean the default. `spans` say where `text`
    stood in the request, None when nobody asks. Rules also look at `newest`, the newest user message as it
    came (None: that is `text`), at what the conversation `has`, and at `metadata`.
    """

    text: str
    skipped_parts: int = 0
    router: str = ""
    threshold: float | None = None
    strong_share: float | None = None
    policy: str = ""
    strong_model: str = ""
    weak_model: str = ""
    request_id: str = ""
    spans: tuple[Span, ...] | None = None
    newest: str | None = None
    has: frozenset[str] = frozenset()
    metadata: Mapping[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class Decision:
    """One decision. Field by field as in `protos/llmrouting/v1/decision.proto`; times are microseconds."""

    decision_id: str
    model: str
    tier: Tier
    strong_win_rate: float | None
    threshold: float | None
    router: str
    router_revision: str
    reason: DecisionReason
    fallback_reason: Reason | None
    prompt_tokens: int | None
    truncated: bool
    skipped_parts: int
    request_id: str
    source: ScoreSource
    policy: str
    generation: int
    asked: Asked
    tokenize_us: float = 0.0
    queue_us: float = 0.0
    inference_us: float = 0.0
    total_us: float = 0.0
    spans: tuple[Span, ...] | None = None
    rule: str = ""
    signal: float | None = None
    topic: str = ""
