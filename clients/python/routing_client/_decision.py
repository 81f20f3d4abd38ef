"""A decision and its parts. `types` exports them too."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """Which side of a model pair, or which part of a roster, was chosen."""

    STRONG = "strong"
    WEAK = "weak"
    MIDDLE = "middle"
    """One between the strongest and the weakest of a roster; the decision's `rung` says which."""
    UNKNOWN = "unknown"
    """Unknown to this client; use the decision's `model`."""


class DecisionReason(StrEnum):
    """Why the decision was made."""

    THRESHOLD = "threshold"
    """The rule: strong when `strong_win_rate >= threshold`."""
    SESSION = "session"
    """An earlier decision of the same session was kept."""
    FALLBACK = "fallback"
    """The router failed, and the server's configured fallback answered."""
    RULE = "rule"
    """A rule of the server's configuration chose, whatever the score."""
    ABSTAINED = "abstained"
    """The router understood too little of the prompt; the configured tier for this case was chosen."""
    EXPLORED = "explored"
    """The policy chose the other tier on purpose, to learn from the outcome."""
    CANARY = "canary"
    """The configured canary router decided."""
    UNAVAILABLE = "unavailable"
    """The service gave no decision; this client's `on_unavailable` did. No server sends this."""
    UNKNOWN = "unknown"
    """Something that this client does not know."""


class ScoreSource(StrEnum):
    """Where a decision's score came from."""

    FRESH = "fresh"
    """It was computed for this request."""
    CACHED = "cached"
    """It was computed for an earlier request with the same text, router and models."""
    NONE = "none"
    """There is no score: the decision comes from a fallback, a rule, or this client."""
    UNKNOWN = "unknown"
    """Something that this client does not know."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was considered."""

    model: str
    score: float | None = None
    """The router's score for it, in 0..1; higher is better. None when the router gave it none."""
    expected_quality: float | None = None
    """The expected quality of its answer, in 0..1, where it is known."""
    expected_cost_usd: float | None = None
    """The expected cost of its answer in US dollars, at least 0, where it is known."""
    excluded_by: tuple[str, ...] = ()
    """Why it was not eligible: names of the protos' `ExclusionReason`s, such as `VISION`. Empty if it was eligible."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a decision's time went on the server, in microseconds. In a batch: its time divided by its items."""

    tokenize_us: float
    queue_us: float
    inference_us: float
    total_us: float


@dataclass(frozen=True, slots=True)
class Asked:
    """Identifies the scored text without showing it."""

    length_bytes: int
    """Its length in bytes of UTF-8."""
    digest: str = ""
    """Its HMAC-SHA256 with the server's digest key, as 64 hex digits; empty when the server has no key."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the request's text that was read."""

    message: int
    """The index of the message in the chat, from 0; 0 for a prompt."""
    part: int
    """The index of the part in the message's content, from 0; 0 for a prompt."""
    begin: int
    """Its first byte in that text, in UTF-8 from 0."""
    end: int
    """The first byte after it."""


@dataclass(frozen=True, slots=True)
class Influence:
    """Something about the text that moved its score."""

    name: str
    """The router's name for it."""
    weight: float
    """How much it moved the win rate, in -1..1; above 0 is towards the strong model."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was read and what mattered. It contains no text."""

    spans: tuple[Span, ...] = ()
    """What was read, in the order in which it was put together."""
    topic: str = ""
    """What the text is about; empty when the router knows no topics."""
    influences: tuple[Influence, ...] = ()
    """What moved the score, the strongest first; empty when the router cannot say."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one prompt."""

    model: str
    """The chosen model's name."""
    tier: Tier
    """Whether this is the strong or the weak model."""
    reason: DecisionReason
    """Why this tier was chosen."""
    strong_win_rate: float | None = None
    """The probability in 0..1 that the strong model's answer beats the weak one's, a tie counting half; None when
    `source` is none: a rule's decision, a fallback or unavailable."""
    threshold: float | None = None
    """The threshold in 0..1 that the win rate was compared with; None as above."""
    router: str = ""
    """The router that scored. Empty when `reason` is unavailable, as are `router_revision` and `decision_id`."""
    router_revision: str = ""
    """The revision of the router's artifact. It changes when anything in the artifact changes."""
    decision_id: str = ""
    """A unique id for this decision, to report its outcome."""
    fallback_reason: str | None = None
    """What failed, when `reason` is fallback or unavailable: an `ErrorReason` such as `ROUTER_FAILED`, or the name of
    the gRPC status code when the failure came with none."""
    candidates: tuple[Candidate, ...] = ()
    """Every considered model, best first, if there are more than two or requirements were set."""
    prompt_tokens: int | None = None
    """How many tokens were scored, after truncation; None when the router does not tokenize."""
    truncated: bool = False
    """Whether the prompt was longer than the router reads, and was cut."""
    skipped_parts: int = 0
    """How many parts of the routed message, and of newer ones, hold no text and were skipped."""
    timing: Timing | None = None
    """Where the time went on the server."""
    request_id: str = ""
    """The request's `request_id`."""
    source: ScoreSource = ScoreSource.NONE
    """Where the score came from."""
    policy: str = ""
    """The policy that gave the threshold; empty when the request gave one, or a share, or no policy is the default."""
    generation: int = 0
    """The number of the server's configuration that decided, from 1; 0 when `reason` is unavailable."""
    asked: Asked | None = None
    """Identifies the scored text; None when `reason` is unavailable."""
    explanation: Explanation | None = None
    """What was read and what mattered; None unless the request set `explain`."""
    signal: float | None = None
    """How much of the text the router understood, in 0..1; None when it cannot tell."""
    propensity: float | None = None
    """The probability, above 0 and at most 1, with which the policy chose this tier; None when it does not explore."""
    rung: int | None = None
    """The place of the chosen model in the roster, from 0 for the weakest; None for a pair."""
    turn: int | None = None
    """The number of this decision in its session, from 1; None outside a session."""
    switched: bool = False
    """Whether this decision changed the session's model."""
    identity: str = ""
    """The server's name for the caller; empty when it does not distinguish callers."""
    rule: str = ""
    """The rule of the server's configuration that chose; empty when none did."""

    @property
    def is_strong(self) -> bool:
        """Whether the strong model was chosen."""
        return self.tier is Tier.STRONG
