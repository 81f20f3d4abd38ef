"""Model strings that ask for a decision, as OpenAI-style clients send them in `model`.

======================  ==========================================================================
`router-mf-0.11593`     router `mf`; strong when the win rate is at least 0.11593
`router-mf-50pct`       router `mf`; strong for about 50 % of prompts, by its calibration table
`router-cheap`          the service's policy `cheap`, or else its router `cheap` with its default
anything else           no decision: a model's own name
======================  ==========================================================================

Programs change names before they send them: `openai/router-cheap`, `Router-Cheap` and `router-cheap[1m]` are read as
`router-cheap`.

The number comes after the last dash (but an exponent may have a dash: `router-mf-1e-05`), so names of routers may
contain dashes. A policy with a name that ends like a number cannot be asked for in this way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

from routing_client.exceptions import FieldViolation, ModelNameError

__all__ = ["PREFIX", "DecideArguments", "ModelNameError", "RoutedModel", "model_name", "parse_model"]

PREFIX = "router-"
_LONGEST = 300

_FORMS = "router-<name>-<threshold from 0 to 1>, router-<name>-<share>pct or router-<policy>"
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
# The exponent first: "mf-1e-05" is 1e-05 for `mf`, and not 5 for a router named "mf-1e".
_THRESHOLDS = (re.compile(rf"(.*)-({_NUMBER}e[+-]?\d+)", re.IGNORECASE), re.compile(rf"(.*)-({_NUMBER})"))
_SEPARATOR = re.compile("[/:]")
_SHARE = re.compile(rf"(.*)-({_NUMBER})(?:pct|PCT)")
# Mistyped numbers. A name such as "qwen-7b" is none of these.
_NO_NUMBER = re.compile(r"(?:.*-)?[+-]?(?:nan|inf|infinity|\.?\d[\d.,_]*(?:%|pct|e[+-]?\d+)?)", re.IGNORECASE)


class DecideArguments(TypedDict, total=False):
    """The arguments of `RoutingClient.decide` for a model string."""

    router: str
    policy: str
    threshold: float
    strong_share: float


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """The request in a model string. At most one of `threshold` and `strong_share` is set."""

    name: str
    """A router's name; without a number, a policy's or a router's."""
    threshold: float | None = None
    """The strong model is chosen when its win rate is at least this, in 0..1."""
    strong_share: float | None = None
    """The wanted share in 0..1 of strong decisions."""

    @property
    def is_named(self) -> bool:
        """Whether there is no number, so that `name` may be a policy or a router."""
        return self.threshold is None and self.strong_share is None

    def arguments(self, is_policy: Callable[[str], bool]) -> DecideArguments:
        """The arguments for `RoutingClient.decide`.

        Args:
            is_policy: Whether a policy of that name exists; asked only if `is_named`. Policies come before routers.
        """
        if self.threshold is not None:
            return {"router": self.name, "threshold": self.threshold}
        if self.strong_share is not None:
            return {"router": self.name, "strong_share": self.strong_share}
        return {"policy": self.name} if is_policy(self.name) else {"router": self.name}


def parse_model(model: str) -> RoutedModel | None:
    """What `model` asks for; None when it is not `router-...` but a model's own name.

    Raises:
        ModelNameError: It has none of the forms above, or its number is out of range.
    """
    if not isinstance(model, str):
        raise _error(f"model must be a str, not {type(model).__name__}")
    if PREFIX not in model.lower():
        return None
    if len(model) > _LONGEST:
        raise _error(f"a model with {PREFIX!r} in its name has at most {_LONGEST} characters")
    asked = next((name for name in bare_names(model) if name.lower().startswith(PREFIX)), None)
    if asked is None:
        return None
    model = asked if asked.startswith(PREFIX) else asked.lower()
    if not model.isprintable():
        raise _error(f"a model that begins with {PREFIX!r} has printable characters only")
    rest = model.removeprefix(PREFIX)
    if match := _SHARE.fullmatch(rest):
        percent = float(match[2])
        if not percent <= 100:
            raise _error(f"model {model!r}: the share is {match[2]}pct and must be from 0pct to 100pct")
        return RoutedModel(_name(match[1], model), strong_share=percent / 100)
    for pattern in _THRESHOLDS:
        if match := pattern.fullmatch(rest):
            threshold = float(match[2])
            name = _name(match[1], model)
            if not threshold <= 1:
                raise _error(f"model {model!r}: the threshold is {match[2]} and must be from 0 to 1")
            return RoutedModel(name, threshold=threshold)
    if _NO_NUMBER.fullmatch(rest):
        raise _error(f"model {model!r} has no name with a valid number after it; the forms are {_FORMS}")
    return RoutedModel(_name(rest, model))


def bare_names(model: str) -> Iterator[str]:
    """The names that `model` may be without what programs add: white space, a suffix such as `[1m]`, and a provider.

    A provider stands before a slash or a colon. The shortest name comes first.
    """
    model = model.strip()
    if model.endswith("]"):
        start = model.rfind("[")
        if start >= 0 and "]" not in model[start:-1]:
            model = model[:start].rstrip()
    for separator in reversed(list(_SEPARATOR.finditer(model))):
        yield model[separator.end() :].lstrip()
    yield model


def model_name(name: str, *, threshold: float | None = None, strong_share: float | None = None) -> str:
    """The model string for a router or policy: the reverse of `parse_model`.

    Args:
        name: A router's name, or, without a number, a policy's.
        threshold: In 0..1.
        strong_share: In 0..1.

    Raises:
        ModelNameError: A number is out of range, both are given, or the string would mean something else.
    """
    for field, number in (("threshold", threshold), ("strong_share", strong_share)):
        if number is not None and (isinstance(number, str | bytes | bool) or not hasattr(number, "__float__")):
            raise _error(f"{field} must be a number, not {type(number).__name__}")
        if number is not None and not 0 <= number <= 1:
            raise _error(f"{field} is {number} and must be from 0 to 1")
    if threshold is not None and strong_share is not None:
        raise _error("give a threshold or a strong_share, not both")
    model = PREFIX + name
    if threshold is not None:
        model += f"-{float(threshold)!r}"
    elif strong_share is not None:
        model += f"-{float(f'{100 * strong_share:.12g}'):.12f}".rstrip("0").rstrip(".") + "pct"
    read = parse_model(model)
    if (
        read is None
        or (read.name, read.threshold) != (name, threshold)
        or abs((read.strong_share or 0) - (strong_share or 0)) > 1e-12
    ):
        raise _error(f"a model string cannot name {name!r}: it would mean something else")
    return model


def _name(name: str, model: str) -> str:
    if not name or name.startswith("-") or name.endswith("-") or name != name.strip():
        raise _error(f"model {model!r} lacks a router's or a policy's name, or has a dash too many; use {_FORMS}")
    return name


def _error(message: str) -> ModelNameError:
    return ModelNameError(message, field_violations=[FieldViolation("model", message)])
