"""Fakes for the tests of programs that use the client: no service, no network, the same client code.

A `FakeRoutingClient` is a `RoutingClient` with a `FakeService` in memory. Converting requests, results and errors
and `on_unavailable` work as in production::

    fake = FakeRoutingClient(win_rates={"prove": 0.9}, default=0.2)
    assert fake.decide("Prove it.").is_strong
    assert fake.calls[0].text == "Prove it."

    fake.then(0.8, OverloadedError("busy"))  # the next two answers; after them the rules again
    fake.failure = UnavailableError("down")  # until it is None again, every call fails

`fake_server` serves the same on a real gRPC port of this machine, for tests in any language.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from routing_client._fake_server import serve
from routing_client._fake_service import FakeCall, FakeService
from routing_client.aio import AsyncRoutingClient
from routing_client.client import RoutingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from routing_client._flows import Call
    from routing_client._settings import OnUnavailable
    from routing_client.exceptions import RoutingError
    from routing_client.types import Decision, ModelPair

__all__ = ["AsyncFakeRoutingClient", "FakeCall", "FakeRoutingClient", "FakeService", "fake_server"]


class _Scripted:
    """The additional methods of both fakes."""

    service: FakeService
    """What answers. Several clients may share one."""

    @property
    def calls(self) -> list[FakeCall]:
        """What was asked, oldest first: one entry for each prompt, also in batches."""
        return self.service.calls

    @property
    def failure(self) -> RoutingError | None:
        """When set, every call fails with it."""
        return self.service.failure

    @failure.setter
    def failure(self, error: RoutingError | None) -> None:
        self.service.failure = error

    def then(self, *answers: float | Decision | RoutingError) -> None:
        """Set the next answers: a strong win rate, a whole decision, or an error to raise."""
        self.service.then(*answers)


class FakeRoutingClient(_Scripted, RoutingClient):
    """A `RoutingClient` without a service. Pass it wherever a `RoutingClient` is wanted.

    Args:
        win_rates: Strong win rates in 0..1 by a part of the routed text; the first part that occurs counts. Or a
            function from the routed text to the win rate.
        default: The win rate of all other texts.
        threshold: The threshold in 0..1 for requests without one.
        models: The pair to choose between for requests without one.
        policies: Named policies and their thresholds.
        on_unavailable: As for `RoutingClient`; it answers with the names of `models`.
        service: Use this service. The arguments above, except `on_unavailable`, are then ignored.
    """

    def __init__(
        self,
        win_rates: Mapping[str, float] | Callable[[str], float] | None = None,
        *,
        default: float = 0.5,
        threshold: float = 0.5,
        models: ModelPair | tuple[str, str] = ("strong-model", "weak-model"),
        policies: Mapping[str, float] | None = None,
        on_unavailable: OnUnavailable = "raise",
        service: FakeService | None = None,
    ) -> None:
        self.service = service or FakeService(
            win_rates, default=default, threshold=threshold, models=models, policies=policies
        )
        pair = self.service.models
        super().__init__(
            "unix:fake", on_unavailable=on_unavailable, strong_model=pair.strong, weak_model=pair.weak, max_attempts=1
        )

    def _invoke(self, call: Call) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        request = list(call.request) if call.method == "Calibrate" else call.request
        return self.service.answer(call.method, request)


class AsyncFakeRoutingClient(_Scripted, AsyncRoutingClient):
    """`FakeRoutingClient` for asyncio: the same arguments and additions, methods awaited."""

    def __init__(
        self,
        win_rates: Mapping[str, float] | Callable[[str], float] | None = None,
        *,
        default: float = 0.5,
        threshold: float = 0.5,
        models: ModelPair | tuple[str, str] = ("strong-model", "weak-model"),
        policies: Mapping[str, float] | None = None,
        on_unavailable: OnUnavailable = "raise",
        service: FakeService | None = None,
    ) -> None:
        self.service = service or FakeService(
            win_rates, default=default, threshold=threshold, models=models, policies=policies
        )
        pair = self.service.models
        super().__init__(
            "unix:fake", on_unavailable=on_unavailable, strong_model=pair.strong, weak_model=pair.weak, max_attempts=1
        )

    async def _invoke(self, call: Call) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        request = [each async for each in call.request] if call.method == "Calibrate" else call.request
        return self.service.answer(call.method, request)


@contextmanager
def fake_server(service: FakeService | None = None, *, address: str = "127.0.0.1:0") -> Iterator[str]:
    """A real gRPC server on this machine while the context lasts. Gives its `host:port`.

    Args:
        service: The service to serve. None: a `FakeService` with its defaults.
        address: Where to listen, `HOST:PORT` or `unix:PATH`; port 0 is any free one.
    """
    with serve(service or FakeService(), address) as target:
        yield target
