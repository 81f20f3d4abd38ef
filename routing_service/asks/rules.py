"""Rules that decide before any router: by a pattern, by length, by what a conversation has, by metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from routing_service.asks.patterns import Finds, compile_pattern
from routing_service.asks_config import AsksConfig, RuleConfig
from routing_service.errors import unknown_name
from routing_service.yaml_sections import Section

Side = Literal["strong", "weak"]
TOOLS, IMAGES = "tools", "images"


class Facts(NamedTuple):
    """What rules look at.

    `newest` is the newest user message with text as it came, or the prompt; `text` what is read of it. `has` holds
    `tools` and `images` where the conversation has them. `is_routed` says that the request itself names a router, a
    policy or a threshold.
    """

    newest: str
    text: str
    has: Collection[str] = ()
    metadata: Mapping[str, str] | None = None
    is_routed: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule whose conditions must all hold. Exactly one of `side`, `model` and `router` says what it chooses.

    With a `model`, `side` is where the model stands in its pair.
    """

    name: str
    side: Side | None
    model: str
    router: str
    _config: RuleConfig
    _finds: Finds | None

    @property
    def decides(self) -> bool:
        """Whether no router is asked."""
        return not self.router

    def holds(self, facts: Facts) -> bool:
        """Whether all of its conditions hold."""
        wanted = self._config
        if self.router and facts.is_routed:
            return False
        if wanted.max_length is not None and len(facts.text) > wanted.max_length:
            return False
        if any(what not in facts.has for what in wanted.has):
            return False
        given = facts.metadata or {}
        if any(given.get(key) != value for key, value in wanted.metadata.items()):
            return False
        return self._finds is None or self._finds(facts.newest)


class Rules:
    """The rules of a configuration, the first one first.

    Args:
        config: the rules.
        routers: by name, the names of the strong models that each router knows, and of the weak ones; the default
            router first.
        document: the configuration's file, for errors.

    Raises:
        ConfigError: a pattern cannot be used, or a router or a model is not known; it names the rule.
    """

    def __init__(
        self,
        config: AsksConfig,
        routers: Mapping[str, tuple[Collection[str], Collection[str]]],
        document: Section,
    ) -> None:
        self._rules = [
            self._rule(place, config.rule_name(place), rule, routers, document)
            for place, rule in enumerate(config.rules)
        ]
        self._reads = frozenset(what for rule in config.rules for what in rule.has)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def read(self, what: str) -> bool:
        """Whether a rule looks for `tools`, or for `images`."""
        return what in self._reads

    def match(self, facts: Facts) -> Rule | None:
        """The first rule that holds."""
        return next((rule for rule in self._rules if rule.holds(facts)), None)

    def leave_out(self, facts: Facts, router: str) -> bool:
        """Whether such a request never reaches that router, so that no threshold of it is about it."""
        rule = self.match(facts)
        return rule is not None and (rule.decides or rule.router != router)

    @staticmethod
    def _rule(
        place: int,
        name: str,
        rule: RuleConfig,
        routers: Mapping[str, tuple[Collection[str], Collection[str]]],
        document: Section,
    ) -> Rule:
        finds, side = None, rule.tier
        if rule.pattern is not None:
            try:
                finds = compile_pattern(rule.pattern)
            except ValueError as error:
                raise document.error(f"(rule {name!r}) {error}", "asks", "rules", place, "pattern") from error
        if rule.router is not None and rule.router not in routers:
            problem = f"(rule {name!r}) {unknown_name('router', rule.router, routers)}"
            raise document.error(problem, "asks", "rules", place, "router")
        if rule.model is not None:
            side = _side_of(rule.model, routers.values())
            if side is None:
                known = {model for pair in routers.values() for models in pair for model in models}
                problem = f"(rule {name!r}) {unknown_name('model', rule.model, known)}"
                raise document.error(problem, "asks", "rules", place, "model")
        return Rule(name, side, rule.model or "", rule.router or "", rule, finds)


def _side_of(model: str, pairs: Iterable[tuple[Collection[str], Collection[str]]]) -> Side | None:
    """On which side a model first stands; None on neither."""
    for strong, weak in pairs:
        if model in strong:
            return "strong"
        if model in weak:
            return "weak"
    return None
