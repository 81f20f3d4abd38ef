"""What calls cost, and what they would have cost with the strong model alone.

Money is in US dollars, prices are per million tokens. Only tokens that an upstream reported are counted. If it
reported none, the cost is unknown. Discounts (cached input, batches) are not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from routing_client.types import Decision

__all__ = ["CostLedger", "Costs", "Entry", "ModelCosts", "Prices", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call, as counted by its upstream."""

    input_tokens: int
    output_tokens: int

    @classmethod
    def read(cls, source: object) -> Usage | None:
        """From the `usage` of an OpenAI response, as an object or a dict; None when it is absent or makes no sense.

        Reads `prompt_tokens` and `completion_tokens`, or the `input_tokens` and `output_tokens` of newer endpoints.
        """
        tokens = [_count(source, "prompt_tokens", "input_tokens"), _count(source, "completion_tokens", "output_tokens")]
        if tokens[0] is None:
            return None
        return cls(tokens[0], tokens[1] or 0)  # embeddings have no output


class Prices(Protocol):
    """What a model's tokens cost. An `Endpoint` is one."""

    @property
    def input_price(self) -> float:
        """US dollars for a million input tokens."""

    @property
    def output_price(self) -> float:
        """US dollars for a million output tokens."""


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """One model's part. Sums are over the calls with a known usage."""

    calls: int = 0
    """How many calls it answered."""
    calls_without_usage: int = 0
    """How many of them have no reported usage (yet)."""
    calls_without_price: int = 0
    """How many calls with a usage have no known price."""
    input_tokens: int = 0
    output_tokens: int = 0
    spent: float = 0.0
    """US dollars."""
    all_strong: float = 0.0
    """US dollars that the strong model would have cost for the same tokens."""

    def __add__(self, other: ModelCosts) -> ModelCosts:
        return ModelCosts(
            self.calls + other.calls,
            self.calls_without_usage + other.calls_without_usage,
            self.calls_without_price + other.calls_without_price,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.spent + other.spent,
            self.all_strong + other.all_strong,
        )


@dataclass(frozen=True, slots=True)
class Costs(ModelCosts):
    """A ledger's totals at one moment."""

    @property
    def saving(self) -> float:
        """US dollars that routing saved."""
        return self.all_strong - self.spent


class Entry:
    """One call in a ledger. Its `usage` may arrive later, as with streams."""

    def __init__(self, ledger: CostLedger, model: str, strong_model: str) -> None:
        self._ledger = ledger
        self.model = model
        """The model that answered."""
        self.strong_model = strong_model
        """The model that it is compared with; the same model if nothing was decided."""
        self.usage: Usage | None = None
        """None while no usage has been reported."""

    @property
    def cost(self) -> float | None:
        """US dollars; None when the usage or the price is not known."""
        return None if self.usage is None else self._ledger.price(self.model, self.usage)

    @property
    def all_strong(self) -> float | None:
        """US dollars that the strong model would have cost for these tokens; None as above."""
        return None if self.usage is None else self._ledger.price(self.strong_model, self.usage)

    def settle(self, usage: Usage) -> None:
        """Set the tokens. A later call replaces an earlier one, because some upstreams report running totals."""
        self._ledger.settle(self, usage)


class CostLedger:
    """Adds up calls. Safe to share between threads.

    Args:
        prices: By model name, for example `Endpoints`. Models without prices are in no sum.
        strong_model: What calls are compared with, unless `record` gets another.
    """

    def __init__(self, prices: Mapping[str, Prices] | None = None, *, strong_model: str | None = None) -> None:
        self._prices = prices or {}
        self._strong_model = strong_model
        self._lock = threading.Lock()
        self._models: dict[str, ModelCosts] = {}

    def record(
        self, model: str, usage: Usage | None, decision: Decision | None, *, strong_model: str | None = None
    ) -> Entry:
        """Add a call that `model` answered.

        Args:
            model: The name by which prices are known.
            usage: None when it is not known; `Entry.settle` can set it later.
            decision: The decision; None for a call that was not routed. It counts as strong at its own cost.
            strong_model: The strong model of this call. None: the ledger's. A weak call for which neither is known is
                compared with itself: a saving is never overstated.
        """
        if decision is None:
            strong = model
        else:
            strong = strong_model or self._strong_model or (decision.model if decision.is_strong else model)
        entry = Entry(self, model, strong if strong in self._prices else model)
        with self._lock:
            self._add(model, ModelCosts(calls=1, calls_without_usage=1))
        if usage is not None:
            entry.settle(usage)
        return entry

    def settle(self, entry: Entry, usage: Usage) -> None:
        """As `Entry.settle`."""
        with self._lock:
            before, entry.usage = entry.usage, usage
            change = self._costs_of(entry, usage)
            if before is None:
                change = replace(change, calls_without_usage=-1)
            else:
                old = self._costs_of(entry, before)
                change = ModelCosts(
                    input_tokens=usage.input_tokens - before.input_tokens,
                    output_tokens=usage.output_tokens - before.output_tokens,
                    spent=change.spent - old.spent,
                    all_strong=change.all_strong - old.all_strong,
                )
            self._add(entry.model, change)

    def price(self, model: str, usage: Usage) -> float | None:
        """US dollars for these tokens of `model`; None when its price is not known."""
        prices = self._prices.get(model)
        if prices is None:
            return None
        return (usage.input_tokens * prices.input_price + usage.output_tokens * prices.output_price) / 1e6

    @property
    def total(self) -> Costs:
        """The totals at this moment."""
        sums = sum(self.models.values(), ModelCosts())
        return Costs(
            sums.calls,
            sums.calls_without_usage,
            sums.calls_without_price,
            sums.input_tokens,
            sums.output_tokens,
            sums.spent,
            sums.all_strong,
        )

    @property
    def models(self) -> dict[str, ModelCosts]:
        """The same by the model that answered."""
        with self._lock:
            return dict(self._models)

    @property
    def spent(self) -> float:
        """US dollars spent in all."""
        return self.total.spent

    @property
    def all_strong(self) -> float:
        """US dollars that the same tokens would have cost with the strong model for every routed call."""
        return self.total.all_strong

    @property
    def saving(self) -> float:
        """US dollars that routing saved: `all_strong` less `spent`."""
        return self.total.saving

    def __repr__(self) -> str:
        total = self.total
        return f"CostLedger(calls={total.calls}, spent={total.spent:.6f}, all_strong={total.all_strong:.6f})"

    def _costs_of(self, entry: Entry, usage: Usage) -> ModelCosts:
        spent = self.price(entry.model, usage)
        return ModelCosts(
            calls_without_price=int(spent is None),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            spent=spent or 0.0,
            # A call without a price, compared with an unknown one, would look like a saving.
            all_strong=0.0 if spent is None else self.price(entry.strong_model, usage) or 0.0,
        )

    def _add(self, model: str, change: ModelCosts) -> None:
        self._models[model] = self._models.get(model, ModelCosts()) + change


def _count(source: Any, *names: str) -> int | None:
    for name in names:
        value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
