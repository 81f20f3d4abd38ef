"""Routers to evaluate: those of a configuration, and what their win rates depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from routing_lab.data.sources import canonical_model
from routing_lab.evals.cache import CacheKey
from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from routing_service.artifacts.manifest import Manifest, read_manifest
from routing_service.config import Config, parse_config
from routing_service.embedders.base import Embedder
from routing_service.embedders.registry import Embedders
from routing_service.errors import UsageError, unknown_name
from routing_service.models import ModelPair
from routing_service.routers.base import Router
from routing_service.routers.registry import build_routers
from routing_service.yaml_sections import Section

# Router types that need no configuration, so that RouteLLM's `--routers random` works without one.
UNCONFIGURED = ("random", "static")
# A router that says no more of itself may change without its revision: its rates are not kept.
UNVERSIONED = "unversioned"
# Keys of a section that win rates do not depend on, or that a revision stands for better than a path does.
_NOT_SCORING = frozenset(("artifact", "api_key_env", "models", "type", "embedder"))


@dataclass(frozen=True, slots=True)
class LoadedRouter:
    """A router, its name and section in the configuration, its artifact's manifest if it has one, its embedder.

    `pair` is the pair that it scores for, `own_pair` that this is not the pair asked for but its own, as it knows no
    other. Close it with `close`.
    """

    name: str
    router: Router
    section: Section
    manifest: Manifest | None
    embedder: tuple[Embedder, Section] | None
    pair: ModelPair
    own_pair: bool
    close: Callable[[], None]


def with_unconfigured(config: Config, names: list[str], seed: int) -> Config:
    """`config`, with the routers among `names` that are not configured but need not be.

    Raises:
        UsageError: a router is not known.
    """
    added = {}
    for name in names:
        if name in config.routers:
            continue
        if name not in UNCONFIGURED:
            raise UsageError(f"--routers: {unknown_name('router', name, {*config.routers, *UNCONFIGURED})}")
        text = f"routers: {{{name}: {{type: {name}{f', seed: {seed}' if name == 'random' else ''}}}}}"
        added[name] = parse_config(text, "--routers", Path()).routers[name]
    return replace(config, routers={**config.routers, **added})


def load_router(config: Config, name: str, strong_model: str | None, weak_model: str | None) -> LoadedRouter:
    """Load one router of a configuration, and no other.

    Args:
        config: where it is configured.
        name: its name there.
        strong_model: the model to score for as the strong one; None for the router's own.
        weak_model: the same for the weak one.

    Raises:
        ConfigError: the router or its embedder is configured wrongly.
        ArtifactError: an artifact cannot be trusted or read.
    """
    embedders, section = Embedders(config), config.routers[name].section
    router = build_routers(replace(config, routers={name: config.routers[name]}), embedders)[name]
    embedder_name = _plain(section.node).get("embedder")
    embedder = None
    if embedder_name in config.embedders:
        its_section = config.embedders[embedder_name].section
        embedder = (embedders.for_section(section)(embedder_name), its_section)

    def close() -> None:
        router.close()
        embedders.close()

    pair, own = _pair(router, strong_model, weak_model)
    return LoadedRouter(name, router, section, _manifest(config, name), embedder, pair, own, close)


def cache_key(loaded: LoadedRouter, content_hash: str) -> CacheKey | None:
    """What its win rates on prompts of that hash depend on; None when they cannot be kept."""
    router = loaded.router
    if not router.deterministic or router.revision == UNVERSIONED:
        return None
    facts: dict[str, Any] = {
        "type": router.type,
        "revision": router.revision,
        "models": list(loaded.pair),
        "options": _options(loaded.section),
        "version": version("routing-service"),
        "prompts": content_hash,
    }
    if loaded.embedder is not None:
        embedder, section = loaded.embedder
        facts["embedder"] = {
            "type": embedder.type,
            "model": embedder.model,
            "revision": getattr(embedder, "revision", None) or _artifact_revision(section),
            "options": _options(section),
        }
    return CacheKey(facts)


def _pair(router: Router, strong: str | None, weak: str | None) -> tuple[ModelPair, bool]:
    """The pair to score for: the asked one as far as the router knows it. And whether it had to be its own instead."""
    found_strong = _known(strong or router.models.strong, router.strong_names)
    found_weak = _known(weak or router.models.weak, router.weak_names)
    if found_strong and found_weak and found_strong != found_weak:
        return ModelPair(found_strong, found_weak), False
    return router.models, True


def _known(model: str, names: frozenset[str]) -> str:
    if model in names:
        return model
    return next((name for name in sorted(names) if canonical_model(name) == canonical_model(model)), "")


def _manifest(config: Config, name: str) -> Manifest | None:
    folder = _artifact(config.routers[name].section)
    if folder is None and config.routers[name].type == "static":
        folder = DEFAULT_ARTIFACT
    return None if folder is None else read_manifest(folder)


def _artifact_revision(section: Section) -> str | None:
    folder = _artifact(section)
    return None if folder is None else read_manifest(folder).revision


@dataclass(frozen=True, slots=True)
class _ArtifactKey:
    artifact: Path | None = None


def _artifact(section: Section) -> Path | None:
    folder = section.parse_only(_ArtifactKey).artifact
    return folder if folder is not None and folder.is_dir() else None


def _options(section: Section) -> dict[str, Any]:
    return {key: value for key, value in _plain(section.node).items() if key not in _NOT_SCORING}


def _plain(node: yaml.Node | None) -> Any:
    """A node's content as JSON: mappings of text, lists, and scalars as they are written."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return {} if node is None else node.value
