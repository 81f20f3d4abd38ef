"""Where each model is served: base URLs, keys, the upstream's names, and prices.

::

    service: 127.0.0.1:50051
    strong_model: gpt-4-1106-preview            # which model answers for strong and weak; without them, the one that
    weak_model: mixtral-8x7b-instruct-v0.1      # the service names
    models:
      gpt-4-1106-preview:
        {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY, upstream_model: gpt-4.1, input_price: 2,
         output_price: 8}
      mixtral-8x7b-instruct-v0.1: {base_url: "http://127.0.0.1:11434/v1", upstream_model: mixtral}
    default: {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY}     # every other model
    fallback_model: gpt-4-1106-preview          # answers while the decision service is out
    failover: true                              # try the pair's other model on 429, 5xx, timeouts and lost connections
    aliases: {auto: router-static-50pct}        # other names for models and routers
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from routing_client._extras import require
from routing_client.model_names import bare_names

__all__ = ["LITELLM", "Endpoint", "Endpoints", "EndpointsError", "load_endpoints", "parse_endpoints"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_MAX_NAME = 300

LITELLM = "litellm"
"""As a `base_url`: the model is called through LiteLLM, by its `upstream_model` of the form `provider/model`."""


class EndpointsError(ValueError):
    """Endpoints are configured wrongly. The message says what, where, and how to correct it, and contains no key."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server and one model on it. Its `repr` shows no key.

    Example:
        models:
          gpt-4.1: {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY, input_price: 2, output_price: 8}
          mixtral: {base_url: "http://127.0.0.1:11434/v1", upstream_model: "mixtral:8x7b", timeout: 120}

    Raises:
        EndpointsError: A value makes no sense.
    """

    base_url: str
    """The server's address, ending with `/v1` as in OpenAI's SDK; or `litellm`."""
    api_key_env: str | None = None
    """The environment variable that holds the key."""
    api_key: str | None = field(default=None, repr=False)
    """The key itself. Without a key, none is sent, except the caller's own to the caller's own base URL."""
    upstream_model: str | None = None
    """The server's name for the model. By default the caller's."""
    input_price: float = 0.0
    """US dollars for a million input tokens. At least 0."""
    output_price: float = 0.0
    """US dollars for a million output tokens. At least 0."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Sent with every call."""
    timeout: float | None = None
    """The time limit of a call. By default the client's or the gateway's. Above 0 seconds."""
    api_key_header: str | None = None
    """The header for the key, such as `x-api-key`. By default `Authorization: Bearer`."""

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if self.api_key is not None and self.api_key_env is not None:
            raise EndpointsError("api_key and api_key_env are both given; keep one")
        for name in ("api_key_env", "api_key", "api_key_header", "upstream_model"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise EndpointsError(f"{name} must be a string that is not empty")
        for name in ("input_price", "output_price"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) < math.inf:
                raise EndpointsError(f"{name} must be US dollars for a million tokens, at least 0")
        if self.timeout is not None and not (_is_number(self.timeout) and 0 < self.timeout < math.inf):
            raise EndpointsError("timeout must be a positive number of seconds")
        if not isinstance(self.headers, Mapping) or not all(
            isinstance(key, str) and isinstance(value, str) for key, value in self.headers.items()
        ):
            raise EndpointsError("headers must map strings to strings")
        for name, value in self.headers.items():
            _check_header(value, f"the header {name!r}")
        if self.api_key is not None:
            _check_header(self.api_key, "api_key")
        if self.api_key_header is not None and not _HEADER_NAME.fullmatch(self.api_key_header):
            raise EndpointsError("api_key_header must be the name of a header, such as x-api-key")
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))

    def key(self) -> str | None:
        """The key to send; None when the endpoint has none.

        Raises:
            EndpointsError: The environment variable is not set, or holds no key.
        """
        if self.api_key_env is None:
            return self.api_key
        value = os.environ.get(self.api_key_env, "").strip()
        if not value:
            raise EndpointsError(
                f"the environment variable {self.api_key_env}, which is to hold the key for {self.base_url}, is not set"
            )
        _check_header(value, f"the environment variable {self.api_key_env}")
        return value

    def key_header(self, key: str) -> tuple[str, str]:
        """The header that carries `key`, by name and value."""
        name = self.api_key_header or "Authorization"
        return name, f"Bearer {key}" if name.lower() == "authorization" else key

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), _plain(self))


@dataclass(frozen=True)
class Endpoints(Mapping[str, Endpoint]):
    """Endpoints by model name, and how to use them. As a mapping, it is `models`.

    Example:
        service: 127.0.0.1:50051
        strong_model: gpt-4.1
        weak_model: mixtral
        models:
          gpt-4.1: {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY, input_price: 2, output_price: 8}
          mixtral: {base_url: "http://127.0.0.1:11434/v1", upstream_model: "mixtral:8x7b"}
        default: {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY}
        fallback_model: gpt-4.1
        failover: true
        aliases: {auto: router-static-50pct}

    Raises:
        EndpointsError: A value makes no sense, or names a model that is not there.
    """

    models: Mapping[str, Endpoint] = field(default_factory=dict, hash=False)
    """The models that have a server of their own, by the name that callers use."""
    service: str | None = None
    """Where the decision service is: `host:port` or `unix:PATH`. By default 127.0.0.1:50051."""
    strong_model: str | None = None
    """The model that answers when the strong one is chosen. By default the model that the decision names."""
    weak_model: str | None = None
    """The model that answers when the weak one is chosen. By default the model that the decision names."""
    default: Endpoint | None = None
    """The server of every other model. By default the client's own `base_url`. Its prices are not used."""
    fallback_model: str | None = None
    """The model that answers while the decision service is unavailable. By default its error is raised."""
    failover: bool = False
    """Whether to try the other model when the chosen one fails with 408, 429, 5xx, a timeout or a lost connection."""
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other names for models and for `router-...` names, e.g. `{auto: router-static-50pct}`."""

    def __post_init__(self) -> None:
        if self.strong_model is not None and self.strong_model == self.weak_model:
            raise EndpointsError(f"strong_model and weak_model are both {self.strong_model!r}")
        for name, value in self.models.items():
            _check_endpoint(value, f"models[{name!r}]")
        if self.default is not None:
            _check_endpoint(self.default, "default")
        _check_aliases(self.aliases, self.models)
        object.__setattr__(self, "aliases", MappingProxyType(dict(self.aliases)))
        object.__setattr__(self, "models", MappingProxyType(dict(self.models)))

    def __getitem__(self, name: str) -> Endpoint:
        return self.models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), _plain(self))

    def find(self, model: str) -> Endpoint | None:
        """The endpoint for `model`: its own, or the default; None when there is neither."""
        return self.models.get(model, self.default)

    def resolve(self, model: str) -> str:
        """What `model` is an alias of, else `model` itself.

        An alias is known in any case, and with what programs add to names: `openai/auto` and `auto[1m]` are `auto`.
        """
        if model in self.models or not self.aliases or len(model) > _MAX_NAME:
            return model
        names = {alias.lower(): name for alias, name in self.aliases.items()}
        asked = (model, *reversed(list(bare_names(model))))  # an alias may have a slash itself
        return next((names[name.lower()] for name in asked if name.lower() in names), model)


def load_endpoints(path: str | os.PathLike[str]) -> Endpoints:
    """Read a YAML file such as the one above. Needs PyYAML, from the extra `openai` or `gateway`.

    Raises:
        EndpointsError: The file cannot be read or is wrong; the message says where and how.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = require("yaml", "openai", "reading endpoints from YAML")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointsError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}"
        ) from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # Its own message quotes the file, which may contain a key.
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}"
        raise EndpointsError(f"{where}: this is not YAML ({getattr(error, 'problem', None) or 'unreadable'})") from None
    return parse_endpoints({} if document is None else document, str(path))


def parse_endpoints(document: Any, source: str = "endpoints") -> Endpoints:
    """Endpoints from what a YAML file says.

    Args:
        document: Mappings, strings and numbers.
        source: Its name in messages.

    Raises:
        EndpointsError: Something is unknown, missing or wrong; the message starts with the place.
    """
    top = _section(document, Endpoints, source)
    models = top.pop("models", None)
    if not isinstance(models, Mapping) and models is not None:
        raise EndpointsError(f"{source}: models must map names to endpoints")
    values: dict[str, Any] = {name: value for name, value in top.items() if name != "default" and value is not None}
    for name, value in values.items():
        kind = {"failover": bool, "aliases": Mapping}.get(name, str)
        if not isinstance(value, kind):
            what = {bool: "true or false", Mapping: "a mapping of names to names"}.get(kind, "a string")
            raise EndpointsError(f"{source}: {name} must be {what}")
    made: dict[str, Endpoint] = {}
    for name, section in (models or {}).items():
        if not isinstance(name, str):
            raise EndpointsError(f"{source}: models: {name!r} must be a string; put it in quotes")
        made[name] = _endpoint(section, f"{source}: models.{name}")
    if top.get("default") is not None:
        values["default"] = _endpoint(top["default"], f"{source}: default")
    for role in ("strong_model", "weak_model", "fallback_model"):
        chosen = values.get(role)
        if chosen is not None and chosen not in made and "default" not in values:
            known = ", ".join(made) or "none"
            raise EndpointsError(f"{source}: {role} is {chosen!r}, which models has no endpoint for; it has: {known}")
    try:
        return Endpoints(made, **values)
    except EndpointsError as error:
        raise EndpointsError(f"{source}: {error}") from None


def _endpoint(section: Any, source: str) -> Endpoint:
    values = {name: value for name, value in _section(section, Endpoint, source).items() if value is not None}
    if "base_url" not in values:
        raise EndpointsError(f"{source}: base_url is missing")
    try:
        return Endpoint(**values)
    except EndpointsError as error:
        raise EndpointsError(f"{source}: {error}") from None


def _section(value: Any, kind: type[Any], source: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise EndpointsError(f"{source}: must be a mapping of names to values")
    known = [each.name for each in fields(kind)]
    for name in value:
        if name not in known:
            nearest = get_close_matches(str(name), known, 1)
            hint = f"do you mean {nearest[0]}?" if nearest else f"it may be: {', '.join(known)}"
            raise EndpointsError(f"{source}: {name} is not known here; {hint}")
    return dict(value)


def _plain(made: Endpoint | Endpoints) -> dict[str, Any]:
    # A `MappingProxyType` can be neither copied nor pickled.
    values = {each.name: getattr(made, each.name) for each in fields(made)}
    return {name: dict(value) if isinstance(value, MappingProxyType) else value for name, value in values.items()}


def _restored(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**values)


def _check_endpoint(value: Any, where: str) -> None:
    if not isinstance(value, Endpoint):
        raise EndpointsError(
            f"{where} must be an Endpoint, such as Endpoint('http://host/v1'); not {type(value).__name__}"
        )


def _check_aliases(aliases: Any, models: Mapping[str, Endpoint]) -> None:
    if not isinstance(aliases, Mapping) or not all(
        isinstance(name, str) and name.strip() and isinstance(of, str) and of.strip() for name, of in aliases.items()
    ):
        raise EndpointsError("aliases must map names to names, as in {auto: router-static-50pct}")
    for name, of in aliases.items():
        if name in models:
            raise EndpointsError(f"aliases: {name!r} is a model already; choose another name")
        if of in aliases:
            raise EndpointsError(f"aliases: {name!r} leads to {of!r}, which is an alias too; name what that leads to")


def _check_header(value: str, what: str) -> None:
    # Sending it would fail like a lost connection, or with an exception that shows it.
    if not (value.isascii() and value.isprintable()):
        raise EndpointsError(f"{what} must be printable ASCII; is there a line break at its end?")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_url(url: Any) -> None:
    if url == LITELLM:
        return
    if not isinstance(url, str):
        raise EndpointsError("base_url must be a string")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname is not None and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise EndpointsError(
            f"base_url must be like https://api.openai.com/v1, or {LITELLM}; is there a scheme, http:// or https://?"
        )
    if parts.username is not None or parts.password is not None:
        raise EndpointsError("base_url holds a user name or password; put the key in api_key_env")
    if parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise EndpointsError(
            "base_url has a query, a fragment or white space; paths such as /chat/completions follow it"
        )
