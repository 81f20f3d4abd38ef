"""What a router is: text in, the strong model's win rate out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self, TypeVar

from routing_service.artifacts.manifest import CalibrationTable, Manifest
from routing_service.config import ROUTER_KEYS
from routing_service.embedders.base import Embedder, OptionsType
from routing_service.errors import DecisionError
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.yaml_sections import Section

T = TypeVar("T")

# The revision of a router that does not know when its scores change.
UNVERSIONED = "unversioned"


@dataclass(frozen=True, slots=True)
class Scores:
    """A router's answer for a batch.

    `strong_win_rates` are probabilities in 0..1, one for each prompt; `prompt_tokens` how many tokens of each were
    read, None for a router that does not tokenize; `truncated` whether each prompt was cut; the times are microseconds
    of wall clock for the whole batch. `errors` says why a prompt, by its place, has no score; its win rate then means
    nothing. `signals` say how much of each prompt the router understood, in 0..1, None for a router that cannot tell.
    """

    strong_win_rates: Sequence[float]
    prompt_tokens: Sequence[int] | None
    truncated: Sequence[bool]
    tokenize_us: float = 0.0
    inference_us: float = 0.0
    errors: Mapping[int, DecisionError] = field(default_factory=dict)
    signals: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a router without options."""


@dataclass(frozen=True, slots=True)
class RouterContext:
    """The material for building a router.

    `name` is its name in the configuration, `section` its part of it, `models` the configured pair, None if none is
    configured; `embedder` returns the embedder of a name and raises `ConfigError` if there is none.
    """

    name: str
    section: Section
    models: ModelPair | None
    embedder: Callable[[str], Embedder]

    def options(self, kind: type[T]) -> T:
        """The router's own keys as the dataclass `kind`.

        Raises:
            ConfigError: a key is not known or a value is not allowed; says file, line and key.
        """
        return self.section.parse(kind, ignore=ROUTER_KEYS)


class Router(ABC):
    """Scores prompts.

    A new router is a subclass with `type` and `score`, and an entry point in `routing_service.routers`.

    `inline` says that a score takes microseconds, so it runs in the event loop. Every other router runs in
    worker threads, at most `concurrency` batches at a time; more than 1 is for a router that mostly waits for
    something remote. `score` may be called in that many threads at once. `deterministic` says that a prompt always gets
    the same score, so it may be cached.

    `revision` changes whenever its scores may change; `models` is the pair that it chooses between by default;
    `max_tokens` is how many tokens of a prompt it reads, None if it does not tokenize; `calibration` is how its
    scores are distributed, None if not known; `manifest` is its artifact's, None if it has none.

    For evaluations: `options` is the dataclass of its options; if all of them have defaults, it can be
    evaluated without a configuration. `irrelevant_keys` are the options that its scores do not depend on, or that its
    revision covers, such as an artifact's folder. `learns` is False for a router without training, such as a rule
    or chance. `antithetic` says that it draws its scores at random, and that 1 - score is as likely as score.
    """

    type: ClassVar[str]
    options: ClassVar[OptionsType] = NoOptions
    irrelevant_keys: ClassVar[frozenset[str]] = frozenset()
    inline: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    antithetic: ClassVar[bool] = False
    concurrency: int = 1
    deterministic: bool = True

    def __init__(
        self,
        *,
        models: ModelPair,
        revision: str = UNVERSIONED,
        max_tokens: int | None = None,
        calibration: CalibrationTable | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        self.revision, self.models, self.max_tokens, self.calibration = revision, models, max_tokens, calibration
        self.manifest = manifest

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        """Make the router that a section of the configuration asks for. Override it to read options or an artifact.

        Raises:
            ConfigError: the section is wrong.
            ArtifactError: the router's artifact cannot be trusted or read.
        """
        context.options(NoOptions)
        return cls(models=context.models or ROUTELLM_PAIR)

    @abstractmethod
    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:
        """Score prompts, at least one, for a pair that `strong_names` and `weak_names` allow.

        A prompt's score must not depend on the others in its batch.

        Raises:
            DecisionError: for these prompts there is no score; any other exception is reported as ROUTER_FAILED.
        """

    def scores_alike(self, one: ModelPair, other: ModelPair) -> bool:  # noqa: ARG002 - a router of one pair has one answer
        """Whether prompts get the same scores for both pairs: a calibration table of one is then right for the other.

        With a name that the router does not know, it is False. Override it in a router that scores several pairs.
        """
        return True

    def topic(self, text: str) -> str:  # noqa: ARG002 - most routers know no topics
        """What a text is about, for a request that asks for an explanation; empty when the router knows no topics.

        It is called where `score` is not, in the event loop, so it must take microseconds.
        """
        return ""

    def close(self) -> None:  # noqa: B027 - most routers hold nothing to give up
        """Release the router's resources. It is not used afterwards."""

    @property
    def strong_names(self) -> frozenset[str]:
        """The names that the router can score as the strong model."""
        return frozenset((self.models.strong,))

    @property
    def weak_names(self) -> frozenset[str]:
        """The names that the router can score as the weak model."""
        return frozenset((self.models.weak,))
