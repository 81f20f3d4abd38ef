"""The configuration: a frozen dataclass for each section, with defaults, validation and a comment below each field.

`load_config` reads a YAML file. Without a file, the defaults serve the shipped router. `make docs` makes
docs/configuration.md from the comments and examples here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from routing_client.targets import DEFAULT_TARGET, read_address

from routing_service.asks_config import AsksConfig
from routing_service.errors import ConfigError, unknown_name
from routing_service.models import ModelPair
from routing_service.routellm_config import translation
from routing_service.yaml_sections import Section, read_yaml

DEFAULT_ADDRESS = DEFAULT_TARGET
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class RouterKeys:
    """The keys that every router has. A router's type adds its own.

    Example:
        routers:
          static: {type: static}
          cheap: {type: static, models: {strong: gpt-4.1, weak: gpt-4.1-nano}, calibration: tables/static.json}
    """

    type: str
    """The router's type, e.g. `static`."""
    models: ModelPair | None = None
    """The models that this router chooses between. By default the configuration's `models`, else the artifact's."""
    calibration: Path | None = None
    """A table written by `calibrate --output`, used in place of the artifact's own."""


@dataclass(frozen=True, slots=True)
class RouterConfig(RouterKeys):
    """One router."""

    section: Section = field(kw_only=True)
    """The whole section. The router's type reads its own keys from it."""


@dataclass(frozen=True, slots=True)
class EmbedderKeys:
    """The keys that every embedder has. An embedder's type adds its own. Some routers need an embedder.

    Example:
        routers:
          mf: {type: mf, artifact: artifacts/mf, embedder: openai}
        embedders:
          openai: {type: openai, model: text-embedding-3-small, api_key_env: OPENAI_API_KEY}
    """

    type: str
    """The embedder's type, e.g. `openai`."""


@dataclass(frozen=True, slots=True)
class EmbedderConfig(EmbedderKeys):
    """One embedder."""

    section: Section = field(kw_only=True)
    """The whole section. The embedder's type reads its own keys from it."""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """A named way to choose the threshold. Set exactly one of `threshold` and `strong_share`.

    Example:
        policies:
          cheap: {strong_share: 0.2}
          careful: {router: static, threshold: 0.55}
    """

    router: str | None = None
    """The router to use. By default the default router."""
    threshold: float | None = None
    """The strong model is chosen when its win rate is at least this. From 0 to 1."""
    strong_share: float | None = None
    """The share of prompts to send to the strong model, by the router's calibration table. From 0 to 1."""

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.strong_share is None):
            raise ValueError("set exactly one of threshold and strong_share")
        for name in ("threshold", "strong_share"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, not {value}")


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """What happens when a router fails, or returns a score that is not a probability.

    Example:
        fallback: {on_router_error: strong}
    """

    on_router_error: Literal["strong", "weak", "error"] = "error"
    """`strong` and `weak` choose that model, and the decision says so. `error` answers with the error."""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """The scores of recent prompts. Repeated prompts are answered from here. No prompt is stored, only its digest.

    Example:
        cache: {max_entries: 100000}
    """

    max_entries: int = 8192
    """How many scores to keep, about 300 bytes each. 0 turns the cache off. From 0 to 10000000."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_entries <= 10_000_000:
            raise ValueError("max_entries must be from 0 to 10000000")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """How much a caller may ask for at once.

    Example:
        server:
          limits: {max_prompt_bytes: 100000, max_batch_items: 256}
    """

    max_prompt_bytes: int = 2 * 1024 * 1024
    """The longest text to route, in UTF-8. From 1 to 2147483647 bytes."""
    max_batch_items: int = 1024
    """The most items in one BatchDecide. From 1 to 2147483647."""
    max_messages: int = 4096
    """The most messages in the conversations of one request, over all items; also the most prompts in one message of a
    Calibrate stream. From 1 to 2147483647."""
    max_parts: int = 4096
    """The most content parts in one request, over all its messages. From 1 to 2147483647."""
    max_message_bytes: int = 4 * 1024 * 1024
    """The largest gRPC message; it must be larger than `max_prompt_bytes`. For a larger one, gRPC itself answers
    RESOURCE_EXHAUSTED. From 1 to 2147483647 bytes."""
    max_concurrent_calls: int = 4096
    """The most calls in progress. For one more, gRPC itself answers RESOURCE_EXHAUSTED at once. Calls that the process
    has not yet accepted do not count. From 1 to 2147483647."""
    max_waiting_bytes: int = 64 * 1024 * 1024
    """The most memory that the texts waiting for one router may take; for one more, the answer is OVERLOADED. A text
    takes 1, 2 or 4 bytes a character. From 1 to 2147483647 bytes."""
    max_calibrations: int = 8
    """The most Calibrate streams that are scored at the same time. Others wait. From 1 to 2147483647."""
    max_open_calibrations: int = 64
    """The most open Calibrate streams. Each needs about 2 MiB and a batch of prompts. For one more, the longest silent
    stream is ended; if all are busy, the new one is refused. From 1 to 2147483647."""
    calibration_idle_seconds: float = 300.0
    """A Calibrate stream that sends nothing for this long is ended. Above 0, at most 86400 seconds."""

    def __post_init__(self) -> None:
        for name in (
            "max_prompt_bytes",
            "max_batch_items",
            "max_messages",
            "max_parts",
            "max_message_bytes",
            "max_concurrent_calls",
            "max_waiting_bytes",
            "max_calibrations",
            "max_open_calibrations",
        ):
            if not 1 <= getattr(self, name) <= 2**31 - 1:
                raise ValueError(f"{name} must be from 1 to {2**31 - 1}")
        if not 0.0 < self.calibration_idle_seconds <= 86_400.0:
            raise ValueError("calibration_idle_seconds must be above 0 and at most 86400")
        if self.max_message_bytes <= self.max_prompt_bytes:
            raise ValueError("max_message_bytes must be larger than max_prompt_bytes, or no prompt could be that long")


@dataclass(frozen=True, slots=True)
class ShutdownConfig:
    """After SIGTERM, health turns NOT_SERVING. After a delay new calls are refused, and running calls may finish.

    A second SIGTERM or SIGINT ends the server at once.

    Example:
        server:
          shutdown: {delay_seconds: 5, grace_seconds: 30}
    """

    delay_seconds: float = 0.0
    """How long new calls are still accepted after NOT_SERVING, for load balancers to notice. From 0 to 3600 seconds."""
    grace_seconds: float = 10.0
    """How long running calls may take to finish. From 0 to 3600 seconds."""

    def __post_init__(self) -> None:
        for name in ("delay_seconds", "grace_seconds"):
            if not 0.0 <= getattr(self, name) <= 3600.0:
                raise ValueError(f"{name} must be from 0 to 3600")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The gRPC server. Options of `routing-service serve` override these keys.

    Example:
        server: {address: "0.0.0.0:50051", workers: 2, metrics_address: "0.0.0.0:9090"}
    """

    address: str = DEFAULT_ADDRESS
    """Where to listen: HOST:PORT, where port 0 takes a free port, or the socket unix:PATH. The socket is a file that is
    there while the service runs; the folder's permissions and the umask say who may connect."""
    workers: int = 1
    """How many processes share the port; 1 with a unix:PATH socket. Each uses about one core. From 1 to 256."""
    metrics_address: str | None = None
    """Where to serve Prometheus metrics over HTTP, HOST:PORT. Worker i adds i to the port. Off by default."""
    reflection: bool = True
    """Whether to offer gRPC server reflection, which tools such as grpcurl use."""
    batch_scheduling: bool = True
    """Use Linux's SCHED_BATCH scheduling, in which a running thread is interrupted less often. gRPC's threads wake each
    other several times for each call; with this they interrupt each other less."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """How much a caller may ask for."""
    start_seconds: float = 600.0
    """How long loading the routers may take. After that `serve` says so and ends. From 1 to 86400 seconds."""
    shutdown: ShutdownConfig = field(default_factory=ShutdownConfig)
    """What SIGTERM does."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256:
            raise ValueError("workers must be from 1 to 256")
        if not 1.0 <= self.start_seconds <= 86_400.0:
            raise ValueError("start_seconds must be from 1 to 86400")
        for name, read in (("address", read_address), ("metrics_address", split_address)):
            if (address := getattr(self, name)) is not None:
                try:
                    read(address)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        if self.workers > 1 and read_address(self.address).path is not None:
            raise ValueError(f"workers must be 1 with {self.address}: processes can share a port, not a unix: socket")
        if self.metrics_address is not None and split_address(self.metrics_address)[1] + self.workers - 1 > _MAX_PORT:
            raise ValueError(f"metrics_address: worker i adds i to the port, and the last would be above {_MAX_PORT}")


@dataclass(frozen=True, slots=True)
class DigestKeyConfig:
    """The key for digests of prompts: a decision's `asked.digest` is the scored text's HMAC-SHA256 with this key.

    Example:
        observability: {digest_key: {env: ROUTING_DIGEST_KEY}}
    """

    env: str
    """The environment variable that holds the key, at least 16 bytes. Replicas with one key give the same digests."""

    def __post_init__(self) -> None:
        if not self.env:
            raise ValueError("env must name an environment variable")


@dataclass(frozen=True, slots=True)
class ObservabilityConfig:
    """Logs and digests. Neither ever contains a prompt.

    Example:
        observability: {log_level: warning, log_format: console, digest_key: {env: ROUTING_DIGEST_KEY}}
    """

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Less severe messages are not written."""
    log_format: Literal["json", "console"] = "json"
    """`json` writes a JSON object on each line, `console` coloured text for people."""
    digest_key: DigestKeyConfig | None = None
    """The key for digests of prompts. By default decisions have the prompt's length only."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration.

    Example:
        models: {strong: gpt-4-1106-preview, weak: mixtral-8x7b-instruct-v0.1}
        default_router: static
        default_policy: cheap
        routers:
          static: {type: static}
          random: {type: random, seed: 1}
        policies:
          cheap: {router: static, strong_share: 0.2}
        fallback: {on_router_error: strong}
        server: {address: "0.0.0.0:50051", workers: 2, metrics_address: "0.0.0.0:9090"}
    """

    models: ModelPair | None = None
    """The two models to choose between. By default those of each router's artifact."""
    default_router: str = "static"
    """The router for requests that name none. By default `static`, else the first in `routers`."""
    default_policy: str | None = None
    """The policy for requests that name none. By default half of the calibration sample goes to the strong model."""
    routers: dict[str, RouterConfig] = field(default_factory=dict)
    """Routers by name. By default the shipped router, as `static`."""
    embedders: dict[str, EmbedderConfig] = field(default_factory=dict)
    """Embedders by name, for routers that need vectors."""
    policies: dict[str, PolicyConfig] = field(default_factory=dict)
    """Policies by name."""
    asks: AsksConfig = field(default_factory=AsksConfig)
    """What of a request is read, and rules that decide before any router."""
    fallback: FallbackConfig = field(default_factory=FallbackConfig)
    """What happens when a router fails."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    """Scores of recent prompts."""
    server: ServerConfig = field(default_factory=ServerConfig)
    """The gRPC server."""
    observability: ObservabilityConfig = field(default_factory=ObservabilityConfig)
    """Logs."""
    document: Section = field(default=Section("defaults", Path(), "", None), compare=False)
    """The file's content, for errors that are found only when routers are loaded."""


@dataclass(frozen=True, slots=True)
class _File:
    """The top level of the file, before routers and embedders are read."""

    models: ModelPair | None = None
    default_router: str | None = None
    default_policy: str | None = None
    routers: dict[str, Section] = field(default_factory=dict)
    embedders: dict[str, Section] = field(default_factory=dict)
    policies: dict[str, PolicyConfig] = field(default_factory=dict)
    asks: AsksConfig = field(default_factory=AsksConfig)
    fallback: FallbackConfig = field(default_factory=FallbackConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    observability: ObservabilityConfig = field(default_factory=ObservabilityConfig)


# The keys that are not a router or embedder type's own.
ROUTER_KEYS = frozenset(f.name for f in fields(RouterKeys))
EMBEDDER_KEYS = frozenset(f.name for f in fields(EmbedderKeys))


def split_address(address: str) -> tuple[str, int]:
    """Split `HOST:PORT`. An IPv6 host is in brackets.

    Raises:
        ValueError: it is not of that form, or the port is not from 0 to 65535.
    """
    read = read_address(address)
    if read.path is not None:
        raise ValueError(f"{address!r} is a socket; write HOST:PORT, e.g. 127.0.0.1:9090")
    return read.host, read.port


def load_config(path: Path | None) -> Config:
    """Read a configuration file; without one, return the defaults. Relative paths start at the file's folder.

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
    """Read a configuration from YAML text. `source` is its name in errors; relative paths start at `base`.

    Raises:
        ConfigError: something in it is wrong.
    """
    document = read_yaml(text, source, base)
    try:
        file = document.parse(_File)
    except ConfigError as error:
        ours = translation(text)
        if ours is None:
            raise
        raise document.error(f"is RouteLLM's configuration. Here the same is\n\n{ours}\n") from error
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
        asks=file.asks,
        fallback=file.fallback,
        cache=file.cache,
        server=_beside(file.server, base, document),
        observability=file.observability,
        document=document,
    )


def _beside(server: ServerConfig, base: Path, document: Section) -> ServerConfig:
    """The server, whose socket, if it listens on one, is relative to `base`."""
    read = read_address(server.address)
    if read.path is None:
        return server
    try:
        return replace(server, address=str(replace(read, path=base / read.path)))
    except ValueError as error:  # the whole path is too long
        raise document.error(str(error), "server") from error


def _router(section: Section) -> RouterConfig:
    # The router's type reads and checks the other keys, when the router is built.
    keys = section.parse_only(RouterKeys)
    return RouterConfig(keys.type, keys.models, keys.calibration, section=section)


def _embedder(section: Section) -> EmbedderConfig:
    return EmbedderConfig(section.parse_only(EmbedderKeys).type, section=section)
