"""From a model string to the model that answers: decide, fall back, fail over. No I/O happens here.

These are flows (`routing_client.flow`). A step is an `Ask` of the decision service or a `Send` to an upstream; the
result is the upstream's answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from routing_client._routable import allows_fallback, routable, smaller
from routing_client.costs import CostLedger, Usage
from routing_client.exceptions import InvalidRequestError, NotFoundError, RoutingError
from routing_client.flow import Flow
from routing_client.model_names import RoutedModel, parse_model
from routing_client.types import Decision, DecisionReason, Messages, ModelPair, RouterList, Tier

if TYPE_CHECKING:
    from routing_client.aio import AsyncRoutingClient
    from routing_client.client import RoutingClient
    from routing_client.endpoints import Endpoint, Endpoints

__all__ = ["Ask", "Dispatcher", "Routing", "Send", "Step"]

_log = logging.getLogger("routing_client")


@dataclass(slots=True)
class Routing:
    """Why this model answered. Plain data: it can be copied and pickled with its response.

    The last four fields are filled in as the answer arrives: with a stream, at its end.
    """

    model: str
    """The model that answers, by its name in the endpoints, or else in the decision."""
    decision: Decision | None = None
    """The service's decision; None when the call was not routed, or when `fallback` says why there is none."""
    fallback: str | None = None
    """Why no router decided: an `ErrorReason` such as `ROUTER_FAILED`, or the name of a gRPC status
    code such as `UNAVAILABLE`. None when a router decided, or when no decision was asked for."""
    failed_over_from: str | None = None
    """The model that was chosen and failed; None when the chosen one answers."""
    failover_reason: str | None = None
    """How it failed: an HTTP status such as `429`, `timeout` or `connection`."""
    upstream_model: str | None = None
    """The upstream's name for the model that answered."""
    usage: Usage | None = None
    """The tokens; None while the upstream has not reported any."""
    cost: float | None = None
    """US dollars; None when the usage or the model's price is not known."""
    all_strong_cost: float | None = None
    """US dollars that the strong model would have cost for the same tokens; None as above."""

    @property
    def is_routed(self) -> bool:
        """Whether the call's model string asked for a decision."""
        return self.decision is not None or self.fallback is not None


class Ask(NamedTuple):
    """A call to the decision service."""

    method: Literal["decide", "routers"]
    """Of `RoutingClient` and `AsyncRoutingClient`."""
    arguments: dict[str, Any]

    def of(self, client: RoutingClient | AsyncRoutingClient) -> Any:
        """Call the method. Gives a `Decision` or a `RouterList`, to be awaited if the client is asynchronous."""
        return getattr(client, self.method)(**self.arguments)


class Send(NamedTuple):
    """A request to send to an upstream."""

    routing: Routing
    endpoint: Endpoint | None
    """None: the client's own base URL."""
    is_last: bool
    """Whether no other model is tried after this one. Only then the SDK retries, or attempts would multiply."""
    strong_model: str | None
    """What the call is compared with; None when it is not known."""


Step: TypeAlias = Ask | Send
"""What a flow here asks its runner to do."""


class Dispatcher:
    """Makes flows. Safe to share between threads.

    Args:
        endpoints: Where models are, and what happens on failures.
        why_failed: Names the failure if another model may not have it (408, 429, 5xx,
            timeouts, lost connections); None for all others.
        costs: Where to add up what calls cost. None: a ledger with the endpoints' prices.
    """

    def __init__(
        self, endpoints: Endpoints, why_failed: Callable[[Exception], str | None], costs: CostLedger | None = None
    ) -> None:
        self.endpoints = endpoints
        self.costs = costs or CostLedger(endpoints, strong_model=endpoints.strong_model)
        self._why_failed = why_failed
        self._served: RouterList | None = None
        self._lock = threading.Lock()

    def dispatch(self, model: str, prompt: Callable[[], str | Messages]) -> Flow[Step, Any]:
        """Send a request to the model that should answer it.

        Args:
            model: As the caller wrote it; an alias of the endpoints is replaced.
            prompt: Gives the prompt or chat; called only if a decision is needed.

        Raises:
            ModelNameError: The model string is wrong; nothing has been sent.
            RoutingError: There is no decision and no fallback; nothing has been sent.
            Exception: The upstream's.
        """
        model = self.endpoints.resolve(model)
        routed = None if model in self.endpoints else parse_model(model)
        if routed is None:
            return (yield self._send(Routing(model), None, is_last=True))
        routing = yield from self.decide(routed, prompt())
        pair = yield from self._pair(routing)
        other = _other(routing.model, pair) if self.endpoints.failover else None
        try:
            return (yield self._send(routing, pair.strong, is_last=other is None))
        except Exception as error:
            why = self._why_failed(error)
            if other is None or why is None:
                raise
        _log.warning("model %r failed (%s); %r is tried instead", routing.model, why, other)
        second = replace(routing, model=other, failed_over_from=routing.model, failover_reason=why)
        try:
            return (yield self._send(second, pair.strong, is_last=True))
        except Exception as error:
            error.add_note(f"model {routing.model!r} was tried before and failed too ({why})")
            raise

    def decide(self, routed: RoutedModel, prompt: str | Messages) -> Flow[Step, Routing]:
        """The model that should answer.

        Raises:
            RoutingError: There is no decision, and no fallback that covers it.
        """
        try:
            decision: Decision = yield from self._decide(routed, routable(prompt))
        except RoutingError as error:
            fallback = self.endpoints.fallback_model
            if fallback is None or not allows_fallback(error):
                raise
            why = error.reason or error.code.name
            _log.warning("no decision from the service (%s); the fallback model %r answers", why, fallback)
            return Routing(fallback, fallback=why)
        by_tier = {Tier.STRONG: self.endpoints.strong_model, Tier.WEAK: self.endpoints.weak_model}
        undecided = decision.reason in {DecisionReason.FALLBACK, DecisionReason.UNAVAILABLE}
        return Routing(
            by_tier.get(decision.tier) or decision.model,
            decision,
            fallback=(decision.fallback_reason or str(decision.reason)) if undecided else None,
        )

    def _send(self, routing: Routing, strong_model: str | None, *, is_last: bool) -> Send:
        return Send(routing, self.endpoints.find(routing.model), is_last, strong_model or None)

    def _decide(self, routed: RoutedModel, prompt: str | Messages) -> Flow[Step, Decision]:
        fresh = False
        while True:
            arguments = routed.arguments(lambda _: False)
            if routed.is_named:
                served, fresh = yield from self._serving(routed.name, fresh=fresh)
                arguments = routed.arguments({policy.name for policy in served.policies}.__contains__)
            try:
                decision: Decision = yield Ask("decide", {"prompt": prompt, **arguments})
            except NotFoundError:
                # The cached list may be older than the service's configuration.
                if not routed.is_named or fresh:
                    raise
                fresh = True
            except InvalidRequestError as error:
                cut = smaller(prompt, error)
                if cut is None:
                    raise
                prompt = cut
            else:
                return decision

    def _serving(self, name: str, *, fresh: bool) -> Flow[Step, tuple[RouterList, bool]]:
        """A list of policies and routers that has `name`, and whether it is new."""
        served = None if fresh else self._served
        if served is None or name not in _names(served):
            fresh = True
            served = yield from self._list()
        if name not in _names(served):
            policies = ", ".join(each.name for each in served.policies) or "none"
            routers = ", ".join(each.name for each in served) or "none"
            raise NotFoundError(
                f"there is no policy and no router {name!r}; policies: {policies}; routers: {routers}",
                reason="POLICY_NOT_FOUND",
                metadata={"policy": name},
            )
        return served, fresh

    def _list(self) -> Flow[Step, RouterList]:
        served: RouterList = yield Ask("routers", {})
        with self._lock:
            self._served = served
        return served

    def _pair(self, routing: Routing) -> Flow[Step, ModelPair]:
        """The two models of the choice, as far as they are known and needed."""
        configured = ModelPair(self.endpoints.strong_model or "", self.endpoints.weak_model or "")
        of_use = self.endpoints.failover or any(
            each.input_price or each.output_price for each in self.endpoints.values()
        )
        if (
            routing.decision is None
            or not routing.decision.router
            or (configured.strong and configured.weak)
            or not of_use
        ):
            return configured
        router = routing.decision.router
        served = self._served
        if served is None or router not in (each.name for each in served):
            try:
                served = yield from self._list()
            except RoutingError:
                return configured
        own = next((each.models for each in served if each.name == router), ModelPair())
        return ModelPair(configured.strong or own.strong, configured.weak or own.weak)


def _names(served: RouterList) -> set[str]:
    return {each.name for each in (*served.policies, *served)}


def _other(model: str, pair: ModelPair) -> str | None:
    return {pair.strong: pair.weak, pair.weak: pair.strong}.get(model) or None
