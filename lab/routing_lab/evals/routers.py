"""Routers to evaluate: those of a configuration, and what their win rates depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from routing_lab.evals.baselines import BASELINES, Embed, fit_baseline
from routing_lab.evals.cache import CacheKey
from routing_service.config import EMBEDDER_KEYS, ROUTER_KEYS, Config, RouterConfig, parse_config
from routing_service.embedders.base import Embedder
from routing_service.embedders.registry import Embedders
from routing_service.errors import UsageError, unknown_name
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.base import UNVERSIONED, Router
from routing_service.routers.registry import ROUTERS, build_routers
from routing_service.rows.model_names import find_model
from routing_service.yaml_sections import Section


@dataclass(frozen=True, slots=True)
class LoadedRouter:
    """A router, its name and section in the configuration, and its embedders with theirs.

    `pair` is the pair that it scores for, `own_pair` that this is not the pair asked for but its own, as it knows no
    other. Close it with `close`.
    """

    name: str
    router: Router
    section: Section
    embedders: tuple[tuple[Embedder, Section], ...]
    pair: ModelPair
    own_pair: bool
    close: Callable[[], None]


def with_unconfigured(config: Config, names: list[str], seed: int) -> Config:
    """`config`, with the routers among `names` that are not configured, but are of a type that needs no options.

    Raises:
        UsageError: a router is not known, or its type needs options.
        ConfigError: its type's package is broken.
    """
    added = {}
    for name in names:
        if name in config.routers:
            continue
        if name in BASELINES:
            added[name] = _configured(name)
            continue
        if name not in ROUTERS.names():
            known = {*config.routers, *ROUTERS.names(), *BASELINES}
            raise UsageError(f"--routers: {unknown_name('router', name, known)}")
        plain = _configured(name)
        options = fields(ROUTERS.find(name, plain.section).options)
        if needed := [field.name for field in options if field.default is field.default_factory is MISSING]:
            raise UsageError(
                f"--routers: {name!r} needs the option {needed[0]!r}; describe the router in a file, under `routers`, "
                "and give that with --config"
            )
        seeded = any(field.name == "seed" for field in options)
        added[name] = _configured(name, seed=seed) if seeded else plain
    return replace(config, routers={**config.routers, **added})


def _configured(kind: str, **options: int) -> RouterConfig:
    text = json.dumps({"routers": {kind: {"type": kind, **options}}})
    return parse_config(text, "--routers", Path()).routers[kind]


def load_router(
    config: Config,
    name: str,
    strong_model: str | None,
    weak_model: str | None,
    data: Path | None = None,
    vectors: Callable[[], Embed] | None = None,
) -> LoadedRouter:
    """Load one router of a configuration, and no other.

    Args:
        config: where it is configured.
        name: its name there.
        strong_model: the model to score for as the strong one; None for the router's own.
        weak_model: the same for the weak one.
        data: the folder that a baseline is fitted on.
        vectors: makes what gives texts the vectors that a baseline compares.

    Raises:
        ConfigError: the router or its embedder is configured wrongly.
        ArtifactError: an artifact cannot be trusted or read.
        UsageError: there is nothing to fit a baseline on.
    """
    embedders, section = Embedders(config), config.routers[name].section
    if (kind := config.routers[name].type) in BASELINES:
        pair = (config.models or ROUTELLM_PAIR).with_options(strong_model, weak_model)
        baseline = fit_baseline(kind, data, vectors, *pair)
        return LoadedRouter(name, baseline, section, (), pair, False, baseline.close)
    router = build_routers(replace(config, routers={name: config.routers[name]}), embedders)[name]
    # No other router is loaded, so that they are all its own.
    used = tuple((embedder, config.embedders[key].section) for key, embedder in embedders.built.items())

    def close() -> None:
        router.close()
        embedders.close()

    pair, own = _pair(router, strong_model, weak_model)
    return LoadedRouter(name, router, section, used, pair, own, close)


def cache_key(loaded: LoadedRouter, content_hash: str) -> CacheKey | None:
    """What its win rates on prompts of that hash depend on; None when they cannot be kept."""
    router = loaded.router
    if not router.deterministic or router.revision == UNVERSIONED:
        return None
    facts: dict[str, Any] = {
        "type": router.type,
        "revision": router.revision,
        "models": list(loaded.pair),
        "options": _relevant(loaded.section, router.irrelevant_keys | ROUTER_KEYS),
        "version": version("routing-service"),
        "prompts": content_hash,
    }
    if loaded.embedders:
        facts["embedders"] = [
            {
                "type": embedder.type,
                "model": embedder.model,
                "revision": embedder.revision,
                "options": _relevant(section, embedder.irrelevant_keys | EMBEDDER_KEYS),
            }
            for embedder, section in loaded.embedders
        ]
    return CacheKey(facts)


def _relevant(section: Section, irrelevant: frozenset[str]) -> dict[str, Any]:
    """The options that scores depend on beside a revision, as they are written."""
    return {key: value for key, value in section.content().items() if key not in irrelevant}


def _pair(router: Router, strong: str | None, weak: str | None) -> tuple[ModelPair, bool]:
    """The pair to score for: the asked one as far as the router knows it. And whether it had to be its own instead."""
    found_strong = _known(strong or router.models.strong, router.strong_names)
    found_weak = _known(weak or router.models.weak, router.weak_names)
    if found_strong and found_weak and found_strong != found_weak:
        return ModelPair(found_strong, found_weak), False
    return router.models, True


def _known(model: str, names: frozenset[str]) -> str:
    return find_model(model, sorted(names)) or ""
