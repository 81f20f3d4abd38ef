"""From a request's names and numbers (router, threshold, share, policy, models) to the plan for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import structlog

from routing_service.asks.rules import Rule
from routing_service.calibration.thresholds import threshold_for_share
from routing_service.config import Config, PolicyConfig
from routing_service.engine.types import RouteRequest
from routing_service.errors import DecisionError, Reason, nearest, unknown_name
from routing_service.models import ModelPair
from routing_service.routers.base import Router

log = structlog.get_logger(__name__)

# A threshold beyond these shares of strong decisions makes the same choice for nearly every prompt.
_MIN_SHARE, _MAX_SHARE = 0.01, 0.99

# The default if neither the request nor the configuration says more: half of the calibration sample goes strong.
DEFAULT_STRONG_SHARE = 0.5


class Plan(NamedTuple):
    """The plan for one request: a router and its name, a threshold in 0..1, and a pair of models.

    `policy` names the policy that gave the threshold, empty when none did. `rule` is the rule that chose, None when
    none did; one that `decides` leaves nothing to the router.
    """

    name: str
    router: Router
    threshold: float
    models: ModelPair
    policy: str = ""
    rule: Rule | None = None

    def with_threshold(self, threshold: float, policy: str = "") -> Plan:
        """The plan with another threshold, and the policy that gave it. `_replace` takes three times as long."""
        return Plan(self.name, self.router, threshold, self.models, policy)


class NamedPolicy(NamedTuple):
    """A policy of the configuration, resolved: the router's name and the threshold in 0..1."""

    router: str
    threshold: float


class Extremes:
    """Warns, once for each router and side, of thresholds that send nearly everything to one model.

    Scores are often close together, and then a round number such as 0.5 is not an even split. 0 and 1 are intended.
    """

    def __init__(self, routers: Mapping[str, Router]) -> None:
        tables = {name: router.calibration for name, router in routers.items()}
        self._usual = {
            name: tuple(threshold_for_share(table.quantiles, share) for share in (_MAX_SHARE, _MIN_SHARE))
            for name, table in tables.items()
            if table is not None
        }
        self._warned: set[tuple[str, str]] = set()

    def check(self, router: str, threshold: float, *, policy: str = "") -> None:
        """Log a warning when the threshold lies outside the 1st to 99th percentile of the router's table."""
        usual = self._usual.get(router)
        if usual is None or usual[0] <= threshold <= usual[1] or threshold in (0.0, 1.0):
            return
        side = "strong" if threshold < usual[0] else "weak"
        if (router, side) in self._warned and not policy:
            return
        self._warned.add((router, side))
        log.warning(
            "threshold sends over 99 % of prompts to one model; use strong_share for a share",
            router=router,
            threshold=round(threshold, 5),
            model=side,
            usual=[round(edge, 5) for edge in usual],
            **({"policy": policy} if policy else {}),
        )


class Planner:
    """Makes plans for one configuration. Everything possible is computed at the start.

    Args:
        routers: the loaded routers by name.
        config: has the defaults and the policies.

    Raises:
        ConfigError: a policy needs a calibration table that its router does not have.
    """

    def __init__(self, routers: Mapping[str, Router], config: Config) -> None:
        self._routers = dict(routers)
        self.default_router = config.default_router
        self.default_policy = config.default_policy
        self.policies = {name: self._resolve(name, policy, config) for name, policy in config.policies.items()}
        self._extremes = Extremes(self._routers)
        for name, policy in self.policies.items():
            self._extremes.check(policy.router, policy.threshold, policy=name)
        self._defaults: dict[str, Plan] = {}
        for name, router in self._routers.items():
            # A router without a table still needs a default: the even odds of an uncalibrated score.
            table = router.calibration
            threshold = 0.5 if table is None else threshold_for_share(table.quantiles, DEFAULT_STRONG_SHARE)
            self._defaults[name] = Plan(name, router, threshold, router.models)

    def _resolve(self, name: str, policy: PolicyConfig, config: Config) -> NamedPolicy:
        router = policy.router or self.default_router
        if policy.threshold is not None:
            return NamedPolicy(router, policy.threshold)
        table = self._routers[router].calibration
        if table is None or policy.strong_share is None:
            problem = f"router {router!r} has no calibration table; set threshold instead of strong_share"
            raise config.document.error(problem, "policies", name, "strong_share")
        return NamedPolicy(router, threshold_for_share(table.quantiles, policy.strong_share))

    def plan(self, request: RouteRequest) -> Plan:
        """The plan for a request.

        Raises:
            DecisionError: a name is not known, a number is out of range, or two policies are given.
        """
        given = (request.threshold is not None) + (request.strong_share is not None) + bool(request.policy)
        if given > 1:
            raise _ambiguous(request)
        name = request.policy
        policy = self._policy(name) if name else None
        if policy is None and not given and self.default_policy:
            name = self.default_policy
            policy = self.policies[name]
            if request.router and request.router != policy.router:
                policy = None  # a threshold means nothing on another router's scores
        elif policy is not None and request.router not in ("", policy.router):
            raise DecisionError(
                Reason.POLICY_AMBIGUOUS,
                f"Policy {request.policy!r} belongs to router {policy.router!r}; leave `router` empty or name it.",
                "router",
            )
        plan = self._default_plan(request.router or (policy.router if policy else self.default_router))
        if policy is not None:
            plan = plan.with_threshold(policy.threshold, name)
        elif request.threshold is not None:
            plan = plan.with_threshold(_in_range(request.threshold, "threshold", Reason.THRESHOLD_OUT_OF_RANGE))
            self._extremes.check(plan.name, plan.threshold)
        elif request.strong_share is not None:
            plan = plan.with_threshold(_threshold_of_share(plan, request.strong_share))
        if request.strong_model or request.weak_model:
            plan = plan._replace(models=_models(plan, request))
        return plan

    def _policy(self, name: str) -> NamedPolicy:
        policy = self.policies.get(name)
        if policy is None:
            raise _not_found(Reason.POLICY_NOT_FOUND, "policy", name, self.policies, "policy")
        return policy

    def _default_plan(self, name: str) -> Plan:
        plan = self._defaults.get(name)
        if plan is None:
            raise _not_found(Reason.ROUTER_NOT_FOUND, "router", name, self._routers, "router")
        return plan


def _threshold_of_share(plan: Plan, share: float) -> float:
    _in_range(share, "strong_share", Reason.STRONG_SHARE_OUT_OF_RANGE)
    if plan.router.calibration is None:
        raise DecisionError(
            Reason.ROUTER_NOT_CALIBRATED,
            f"Router {plan.name!r} has no calibration table; set `threshold` instead of `strong_share`.",
            "strong_share",
            {"router": plan.name},
        )
    return threshold_for_share(plan.router.calibration.quantiles, share)


def _in_range(value: float, field: str, reason: Reason) -> float:
    if not 0.0 <= value <= 1.0:  # NaN fails every comparison
        raise DecisionError(reason, f"`{field}` is {value}; it must be from 0 to 1.", field, {"value": str(value)})
    return value


def _models(plan: Plan, request: RouteRequest) -> ModelPair:
    strong, weak = request.strong_model or plan.models.strong, request.weak_model or plan.models.weak
    sides = (("strong", strong, plan.router.strong_names), ("weak", weak, plan.router.weak_names))
    for side, name, known in sides:
        if name not in known:
            raise _not_found(
                Reason.MODEL_NOT_FOUND, f"{side} model of router {plan.name!r}", name, known, f"models.{side}"
            )
    if strong == weak:
        raise DecisionError(
            Reason.MODELS_IDENTICAL, "The strong and the weak model are the same; name two different ones.", "models"
        )
    return ModelPair(strong, weak)


def _not_found(
    reason: Reason, kind: str, name: str, known: Mapping[str, object] | frozenset[str], field: str
) -> DecisionError:
    metadata = {field.replace(".", "_"): name[:80]}
    if guess := nearest(name, known):
        metadata["nearest"] = guess
    message = unknown_name(kind, name, known)
    return DecisionError(reason, message[0].upper() + message[1:], field, metadata)


def _ambiguous(request: RouteRequest) -> DecisionError:
    fields = {"threshold": request.threshold, "strong_share": request.strong_share, "policy": request.policy or None}
    given = [f"`{name}`" for name, value in fields.items() if value is not None]
    return DecisionError(
        Reason.POLICY_AMBIGUOUS,
        f"{' and '.join(given)} are {'both' if len(given) == 2 else 'all'} set; set at most one of them.",
        given[-1].strip("`"),
    )
