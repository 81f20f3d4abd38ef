"""The items of `decide_batch`, in one form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing_client.exceptions import InvalidRequestError
from routing_client.types import DecisionRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from routing_client.types import Messages, ModelPair


def as_requests(
    items: Iterable[str | Messages | DecisionRequest],
    router: str | None,
    threshold: float | None,
    strong_share: float | None,
    policy: str | None,
    models: ModelPair | tuple[str, str] | None,
) -> Iterator[DecisionRequest]:
    """Each item as a request; items without settings of their own get these.

    Raises:
        InvalidRequestError: `items` is one string; each letter would be an item.
    """
    if isinstance(items, str):
        raise InvalidRequestError("items must be an iterable of prompts, not one str; `decide` takes one")
    for item in items:
        if isinstance(item, DecisionRequest):
            yield item
        else:
            yield DecisionRequest(item, router, threshold, strong_share, policy, models)
