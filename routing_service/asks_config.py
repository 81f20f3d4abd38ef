"""The configuration's `asks`: what of a request is read, and rules that decide before any router does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

_TAG = re.compile(r"[A-Za-z_][\w.:-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RuleConfig:
    """A rule. The first one whose conditions all hold decides. It has conditions and one of `tier`, `model`, `router`.

    Example:
        asks:
          rules:
            - {name: titles, pattern: '^### Task:', tier: weak}
            - {name: pictures, has: [images], tier: strong}
            - {name: search-team, metadata: {team: search}, max_length: 200, router: static}
    """

    name: str | None = None
    """The rule's name, which decisions give. By default `rule-1`, `rule-2`, ..., by its place."""
    pattern: str | None = None
    """A regular expression (RE2) that matches somewhere in the newest user message, as it came."""
    max_length: int | None = None
    """The text that is read has at most so many characters. From 1 to 2147483647."""
    has: tuple[Literal["tools", "images"], ...] = ()
    """What the conversation has. With two, it has both."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The request's `metadata` has all these entries."""
    tier: Literal["strong", "weak"] | None = None
    """The model of the pair to choose. No router is asked."""
    model: str | None = None
    """The model to choose, one of a router's. No router is asked."""
    router: str | None = None
    """The router to use, where the request names no router, policy or threshold."""

    def __post_init__(self) -> None:
        which = f"rule {self.name!r}: " if self.name else ""
        if (self.tier is not None) + (self.model is not None) + (self.router is not None) != 1:
            raise ValueError(f"{which}set exactly one of tier, model and router")
        if self.pattern is None and self.max_length is None and not self.has and not self.metadata:
            raise ValueError(f"{which}set one of pattern, max_length, has and metadata, or it decides everything")
        if self.max_length is not None and not 1 <= self.max_length <= 2**31 - 1:
            raise ValueError(f"{which}max_length must be from 1 to {2**31 - 1}")
        if self.pattern == "":
            raise ValueError(f"{which}pattern is empty and matches everything; leave it out")


@dataclass(frozen=True, slots=True)
class AbstainConfig:
    """The tier for requests that the router understood too little of.

    Example:
        asks:
          abstain: {below: 0.2, tier: strong}
    """

    below: float
    """A score whose `signal` is less than this, above 0 and at most 1, does not decide."""
    tier: Literal["strong", "weak"] = "strong"
    """The tier for such requests."""

    def __post_init__(self) -> None:
        if not 0.0 < self.below <= 1.0:
            raise ValueError("below must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class AsksConfig:
    """What of a prompt or a conversation is read, and rules that decide before any router. See [asks.md](asks.md).

    Example:
        asks:
          strip: default
          wrappers: [project-notes, session_state]
          rules:
            - {name: titles, pattern: '^### Task:', tier: weak}
    """

    strip: Literal["default", "none"] = "default"
    """`default` reads what a person asks, without what programs put around it. `none` reads the whole text."""
    wrappers: tuple[str, ...] = ()
    """Names of further tags. `<name>...</name>` is left out wherever it stands."""
    rules: tuple[RuleConfig, ...] = ()
    """Rules, the first one first."""
    abstain: AbstainConfig | None = None
    """What to do when the router understood too little of a request; by default its score decides all the same."""

    def __post_init__(self) -> None:
        for name in self.wrappers:
            if not _TAG.fullmatch(name):
                raise ValueError(f"wrappers: {name!r} is no name of a tag; write the name alone, e.g. project-notes")
        names = [rule.name for rule in self.rules if rule.name]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rules: two are named {twice[0]!r}; give each a name of its own")

    def rule_name(self, place: int) -> str:
        """The name of the rule at a place, from 0."""
        return self.rules[place].name or f"rule-{place + 1}"
