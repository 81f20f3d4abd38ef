"""What goes in and what comes out: plain frozen dataclasses, no protobuf.

A newer server may send fields and values that this client does not know yet. Unknown fields are dropped, and unknown
enum values become `UNKNOWN`: an old client continues to work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from routing_client._decision import (
    Asked,
    Candidate,
    Decision,
    DecisionReason,
    Explanation,
    Influence,
    ScoreSource,
    Span,
    Tier,
    Timing,
)
from routing_client._interpolate import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Asked",
    "Calibration",
    "CalibrationPoint",
    "CalibrationTable",
    "Candidate",
    "ConfidenceInterval",
    "Decision",
    "DecisionReason",
    "DecisionRequest",
    "Explanation",
    "Influence",
    "MessageLike",
    "Messages",
    "ModelPair",
    "PolicyInfo",
    "Requirements",
    "RouterInfo",
    "RouterList",
    "ScoreSource",
    "Span",
    "Tier",
    "Timing",
]


class MessageLike(Protocol):
    """A message as LLM libraries return it: an object with attributes in place of a dict's keys."""

    @property
    def role(self) -> str:
        """system, developer, user, assistant, tool or function."""

    @property
    def content(self) -> Any:
        """A str, a list of parts such as `{"type": "text", "text": ...}`, or None."""


Messages: TypeAlias = Sequence[Mapping[str, Any] | MessageLike]
"""A chat in OpenAI's format, oldest message first: dicts with `role` and `content`, or objects with these."""


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The two models to choose between. An empty name means the router's own model in that place."""

    strong: str = ""
    weak: str = ""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the chosen model must be able to do. Servers without support refuse: `NotImplementedByServerError`."""

    input_tokens: int | None = None
    """How many input tokens it must take; None: any."""
    output_tokens: int | None = None
    """How many output tokens it must be able to give; None: any."""
    tools: bool = False
    """Whether it must call tools."""
    vision: bool = False
    """Whether it must read images."""
    audio: bool = False
    """Whether it must take or give audio."""
    json: bool = False
    """Whether it must be able to give output that is valid JSON."""


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """One item of `decide_batch` with settings of its own. The fields are the arguments of `decide`."""

    prompt: str | Messages
    router: str | None = None
    threshold: float | None = None
    strong_share: float | None = None
    policy: str | None = None
    models: ModelPair | tuple[str, str] | None = None
    session_id: str | None = None
    request_id: str | None = None
    explain: bool = False
    requirements: Requirements | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A 95 % interval, for independent prompts."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """A threshold and the share of strong decisions that it was made for."""

    strong_share: float
    """The wanted share of strong decisions, in 0..1."""
    threshold: float
    """The threshold, in 0..1."""
    realized_share: float | None = None
    """The share that the threshold gives on the sample, if known; as close to the wanted one as equal scores
    allow."""
    share_interval: ConfidenceInterval | None = None
    """The interval of the share that the threshold gives on traffic like the sample, in 0..1; None if not known."""
    threshold_interval: ConfidenceInterval | None = None
    """The interval of the threshold that gives the wanted share on traffic like the sample, in 0..1; None as above."""
    tied_share: float | None = None
    """The share of the sample with the score that a threshold would have to divide to give exactly the wanted
    share; 0 if it is given exactly; None if not known."""


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """A router's own thresholds, made when it was trained or calibrated."""

    source: str
    """A description of the sample, for people."""
    sample_size: int
    """How many prompts it had."""
    points: tuple[CalibrationPoint, ...]
    """Points by rising share."""

    def threshold_for(self, strong_share: float) -> float:
        """The threshold for a wanted share in 0..1 of strong decisions.

        Linear between the table's points; a server uses its own, finer points. The ends are those of the
        rule: share 0 is threshold 1.0 (strong only for a win rate of 1), and share 1 is threshold 0.0 (strong always).

        Raises:
            ValueError: The share is NaN or outside 0..1.
        """
        return interpolate(strong_share, [(point.strong_share, point.threshold) for point in self.points])


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds for wanted strong shares."""

    router: str
    router_revision: str
    sample_size: int
    """How many prompts the thresholds are made from."""
    points: tuple[CalibrationPoint, ...]
    """One for each wanted share, in the order asked."""
    resolution: float = 0.0
    """0 when every score was kept; else the thresholds are multiples of this power of two, at most 1/65536. Their
    realized shares are always exact."""


@dataclass(frozen=True, slots=True)
class RouterInfo:
    """A router that the server serves."""

    name: str
    type: str
    """`static`, `mf`, `sw_ranking`, `bert`, `causal_llm`, `random`, or a plug-in's."""
    revision: str
    models: ModelPair
    """The models that it chooses between if a request names none."""
    calibration: CalibrationTable | None
    is_default: bool
    """Whether it decides when a request names no router."""
    max_tokens: int | None
    """How many tokens of a prompt it reads; None when it does not tokenize."""


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A named policy of the server's configuration."""

    name: str
    router: str
    threshold: float
    is_default: bool
    """Whether it decides when a request names no policy."""


@dataclass(frozen=True, slots=True)
class RouterList:
    """The server's routers and policies. Iterating gives the routers; `[name]` gives one."""

    routers: tuple[RouterInfo, ...]
    policies: tuple[PolicyInfo, ...]

    @property
    def default(self) -> RouterInfo | None:
        """The router that decides when a request names none."""
        return next((router for router in self.routers if router.is_default), None)

    def __iter__(self) -> Iterator[RouterInfo]:
        return iter(self.routers)

    def __len__(self) -> int:
        return len(self.routers)

    def __getitem__(self, name: str) -> RouterInfo:
        for router in self.routers:
            if router.name == name:
                return router
        raise KeyError(name)
