"""The configuration: one frozen dataclass a section, with its defaults, its validation, and a comment a field.

`load_config` reads a YAML file; without one the defaults serve the router that ships.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from routing_service.errors import ConfigError, unknown_name
from routing_service.yaml_sections import Section, read_yaml

DEFAULT_ADDRESS = "127.0.0.1:50051"
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]\s]+)\]|(?P<host>[^\[\]:\s]+)):(?P<port>\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """The pair that decisions choose between, under the names that callers know."""

    strong: str
    """The strong, expensive model."""
    weak: str
    """The weak, cheap model."""

    def __post_init__(self) -> None:
        if not self.strong or not self.weak:
            raise ValueError("the models' names must not be empty")
        if self.strong == self.weak:
            raise ValueError(f"the strong and the weak model are both {self.strong!r}")


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """One router. Keys beside `type`, `models` and `calibration` are the router type's own."""

    type: str
    """The router's type, e.g. `static`."""
    models: ModelsConfig | None
    """The pair that this router answers with; by default the configuration's, else the artifact's."""
    calibration: Path | None
    """A table that `calibrate --output` wrote, in place of the artifact's own."""
    section: Section
    """The whole section, for the router type to read its options from."""


@dataclass(frozen=True, slots=True)
class EmbedderConfig:
    """One embedder, for routers that need vectors. Keys beside `type` are the embedder type's own."""

    type: str
    """The embedder's type, e.g. `openai`."""
    section: Section
    """The whole section, for the embedder type to read its options from."""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """A named rule for choosing a threshold. Exactly one of `threshold` and `strong_share` is set."""

    router: str | None = None
    """The router that it uses; by default the default router."""
    threshold: float | None = None
    """The win rate from which the strong model is chosen, in 0..1."""
    strong_share: float | None = None
    """The wanted share of strong decisions, in 0..1, by the router's calibration table."""

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.strong_share is None):
            raise ValueError("set exactly one of threshold and strong_share")
        for name in ("threshold", "strong_share"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, not {value}")


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """What happens when a router fails or returns something that is no probability."""

    on_router_error: Literal["strong", "weak", "error"] = "error"
    """Choose that side and say so in the decision, or answer with the error."""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Scores of recent prompts, kept by a digest of the prompt and never across a reload."""

    max_entries: int = 8192
    """How many scores are kept, about 300 bytes each; 0 keeps none."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_entries <= 10_000_000:
            raise ValueError("max_entries must be from 0 to 10000000")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """How much a caller may ask for at once."""

    max_prompt_bytes: int = 2 * 1024 * 1024
    """The longest text to route, in bytes of UTF-8. A router reads far less; the rest is only parsed."""
    max_batch_items: int = 1024
    """The most items in one BatchDecide."""
    max_message_bytes: int = 32 * 1024 * 1024
    """The largest message that gRPC accepts, in bytes. Beyond it gRPC itself answers RESOURCE_EXHAUSTED."""
    max_concurrent_calls: int = 4096
    """The most calls that have begun and not ended. Beyond it gRPC itself answers RESOURCE_EXHAUSTED, at once. Calls
    that wait for the process to get to them have not begun."""
    max_calibrations: int = 8
    """The most Calibrate streams at a time, about 2 MiB and a batch of prompts each. One more is refused at once."""
    calibration_idle_seconds: float = 300.0
    """How long a Calibrate stream may send nothing before it is ended, in seconds."""

    def __post_init__(self) -> None:
        for name in (
            "max_prompt_bytes",
            "max_batch_items",
            "max_message_bytes",
            "max_concurrent_calls",
            "max_calibrations",
        ):
            if not 1 <= getattr(self, name) <= 2**31 - 1:
                raise ValueError(f"{name} must be from 1 to {2**31 - 1}")
        if not 0.0 < self.calibration_idle_seconds <= 86_400.0:
            raise ValueError("calibration_idle_seconds must be above 0 and at most 86400")
        if self.max_message_bytes <= self.max_prompt_bytes:
            raise ValueError("max_message_bytes must be larger than max_prompt_bytes, or no prompt could be that long")


@dataclass(frozen=True, slots=True)
class ShutdownConfig:
    """What SIGTERM does: health turns NOT_SERVING, new calls are still taken for a while, then running ones finish."""

    delay_seconds: float = 0.0
    """Seconds between NOT_SERVING and refusing calls, for load balancers to notice."""
    grace_seconds: float = 10.0
    """Seconds that running calls get to finish."""

    def __post_init__(self) -> None:
        for name in ("delay_seconds", "grace_seconds"):
            if not 0.0 <= getattr(self, name) <= 3600.0:
                raise ValueError(f"{name} must be from 0 to 3600")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The gRPC server."""

    address: str = DEFAULT_ADDRESS
    """Where to listen, HOST:PORT; port 0 takes a free one."""
    workers: int = 1
    """How many processes share the port. One uses one core."""
    metrics_address: str | None = None
    """Where to serve Prometheus metrics over HTTP, HOST:PORT; worker i adds i to the port. Off by default."""
    reflection: bool = True
    """Whether tools such as grpcurl may ask for the protos."""
    batch_scheduling: bool = True
    """Let a thread that runs finish its slice before one that wakes up takes over (Linux's SCHED_BATCH): gRPC's threads
    wake each other several times a call, and without this they push each other off the core each time."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """How much a caller may ask for."""
    shutdown: ShutdownConfig = field(default_factory=ShutdownConfig)
    """What SIGTERM does."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256:
            raise ValueError("workers must be from 1 to 256")
        for name in ("address", "metrics_address"):
            if (address := getattr(self, name)) is not None:
                try:
                    split_address(address)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error


@dataclass(frozen=True, slots=True)
class ObservabilityConfig:
    """Logs. They never hold a prompt."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or coloured text for people."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    models: ModelsConfig | None = None
    """The pair that routers answer with; by default each artifact's own."""
    default_router: str = "static"
    """The router that decides when a request names none."""
    default_policy: str | None = None
    """The policy that applies when a request names none; by default half of the calibration sample goes strong."""
    routers: dict[str, RouterConfig] = field(default_factory=dict)
    """Routers by name. By default the one that ships, as `static`."""
    embedders: dict[str, EmbedderConfig] = field(default_factory=dict)
    """Embedders by name, for routers that need vectors."""
    policies: dict[str, PolicyConfig] = field(default_factory=dict)
    """Policies by name."""
    fallback: FallbackConfig = field(default_factory=FallbackConfig)
    """What happens when a router fails."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    """Scores of recent prompts."""
    server: ServerConfig = field(default_factory=ServerConfig)
    """The gRPC server."""
    observability: ObservabilityConfig = field(default_factory=ObservabilityConfig)
    """Logs."""
    document: Section = field(default=Section("defaults", Path(), "", None), compare=False)
    """Where all of it stands, for errors that show only when routers are loaded."""


@dataclass(frozen=True, slots=True)
class _File:
    """The top level of the file, before routers and embedders are read."""

    models: ModelsConfig | None = None
    default_router: str | None = None
    default_policy: str | None = None
    routers: dict[str, Section] = field(default_factory=dict)
    embedders: dict[str, Section] = field(default_factory=dict)
    policies: dict[str, PolicyConfig] = field(default_factory=dict)
    fallback: FallbackConfig = field(default_factory=FallbackConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    observability: ObservabilityConfig = field(default_factory=ObservabilityConfig)


@dataclass(frozen=True, slots=True)
class _RouterKeys:
    type: str
    models: ModelsConfig | None = None
    calibration: Path | None = None


@dataclass(frozen=True, slots=True)
class _EmbedderKeys:
    type: str


# What a router or embedder type's own options must leave to RouterConfig and EmbedderConfig.
ROUTER_KEYS = frozenset(("type", "models", "calibration"))
EMBEDDER_KEYS = frozenset(("type",))


def split_address(address: str) -> tuple[str, int]:
    """Split `HOST:PORT`, where an IPv6 host stands in brackets.

    Raises:
        ValueError: it is not of that form, or the port is not from 0 to 65535.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{address!r} is no address; write HOST:PORT, e.g. 127.0.0.1:50051 or [::1]:50051")
    return match["ipv6"] or match["host"], int(match["port"])


def load_config(path: Path | None) -> Config:
    """Read a configuration file, or give the defaults when there is none. Relative paths are taken from its folder.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    if path is None:
        return parse_config("", "defaults", Path())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(str(path), "", f"cannot be read: {problem}") from error
    return parse_config(text, str(path), path.parent)


def parse_config(text: str, source: str, base: Path) -> Config:
    """Read a configuration from YAML text. `source` names it in errors; `base` is where relative paths start.

    Raises:
        ConfigError: something in it is wrong.
    """
    document = read_yaml(text, source, base)
    file = document.parse(_File)
    sections = file.routers or {"static": read_yaml("type: static", source, base)}
    routers = {name: _router(section) for name, section in sections.items()}
    default = file.default_router or ("static" if "static" in routers else next(iter(routers)))
    if default not in routers:
        raise document.error(unknown_name("router", default, routers), "default_router")
    for name, policy in file.policies.items():
        if policy.router is not None and policy.router not in routers:
            raise document.error(unknown_name("router", policy.router, routers), "policies", name, "router")
    if file.default_policy is not None and file.default_policy not in file.policies:
        raise document.error(unknown_name("policy", file.default_policy, file.policies), "default_policy")
    return Config(
        models=file.models,
        default_router=default,
        default_policy=file.default_policy,
        routers=routers,
        embedders={name: _embedder(section) for name, section in file.embedders.items()},
        policies=file.policies,
        fallback=file.fallback,
        cache=file.cache,
        server=file.server,
        observability=file.observability,
        document=document,
    )


def _router(section: Section) -> RouterConfig:
    # Only the common keys are read here; the router's type, when it is built, reads and checks the rest.
    plain = section.parse_only(_RouterKeys)
    return RouterConfig(plain.type, plain.models, plain.calibration, section)


def _embedder(section: Section) -> EmbedderConfig:
    return EmbedderConfig(section.parse_only(_EmbedderKeys).type, section)
