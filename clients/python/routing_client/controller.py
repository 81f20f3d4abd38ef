"""RouteLLM's `Controller`, deciding through the service. Needs the extra `openai`.

::

    from routing_client.controller import Controller      # was: from routellm.controller import Controller

    client = Controller(
        routers=["mf"],
        strong_model="gpt-4-1106-preview",
        weak_model="anyscale/mistralai/Mixtral-8x7B-Instruct-v0.1",
        service="127.0.0.1:50051",
    )
    client.chat.completions.create(model="router-mf-0.11593", messages=[{"role": "user", "content": "Hello!"}])

The differences: routers and their artifacts are the service's, so nothing is loaded here and `config` is refused. What
the newest user message asks is routed; RouteLLM takes the last message, whatever it is. Responses are those of
OpenAI's SDK, with `routing`. A `model` that does not begin with `router-` is called directly; RouteLLM refuses it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from routing_client._requests import invalid
from routing_client.aio import AsyncRoutingClient
from routing_client.client import RoutingClient
from routing_client.costs import CostLedger
from routing_client.endpoints import LITELLM, Endpoint, Endpoints
from routing_client.exceptions import RouterFailedError, RoutingError
from routing_client.model_names import model_name, parse_model
from routing_client.openai import AsyncRoutedOpenAI, RoutedOpenAI, routing_of
from routing_client.openai._shared import EndpointsLike, endpoints_from
from routing_client.targets import DEFAULT_TARGET
from routing_client.types import ModelPair

if TYPE_CHECKING:
    from routing_client.types import Decision

__all__ = ["Controller", "RoutingError"]


class Controller:
    """Routes between a strong and a weak model, with RouteLLM's names.

    Args:
        routers: The routers that may be asked for, by their names at the service.
        strong_model: The strong model's name; `provider/model` goes through LiteLLM, unless the endpoints or `api_base`
            say otherwise.
        weak_model: The weak model's name; likewise.
        config: Refused: routers are configured at the service.
        api_base: The base URL of the models that the endpoints do not name; `openai/` before their names is dropped.
        api_key: The key of those models. None: `OPENAI_API_KEY`, or the one that LiteLLM reads for the provider.
        progress_bar: Has no effect: nothing is loaded here.
        service: The decision service's `host:port`. None: the endpoints' `service`, else 127.0.0.1:50051.
        service_options: More arguments for the clients of the decision service: `{"timeout": 5}` for a router that
            embeds through a remote API, `metadata`, `credentials`; see `RoutingClient`.
        endpoints: Where models are, as for `RoutedOpenAI`.
        fallback_model: As for `RoutedOpenAI`.
        failover: As for `RoutedOpenAI`.

    Raises:
        EndpointsError: The endpoints are wrong.
        ValueError: An argument makes no sense.
    """

    def __init__(
        self,
        routers: Sequence[str],
        strong_model: str,
        weak_model: str,
        config: None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        progress_bar: bool = False,  # noqa: ARG002 (RouteLLM's signature)
        *,
        service: str | None = None,
        service_options: Mapping[str, Any] | None = None,
        endpoints: EndpointsLike | None = None,
        fallback_model: str | None = None,
        failover: bool | None = None,
    ) -> None:
        if config is not None:
            raise ValueError(
                "config belongs to the service now: put the routers into its routing.yaml, see routing-service"
            )
        if isinstance(routers, str):
            raise ValueError("routers must be a list of names, not one str")  # noqa: TRY004 (as every wrong argument)
        if not isinstance(service, str | None):
            raise ValueError(f"service must be host:port, not {type(service).__name__}; see service_options")  # noqa: TRY004 (as above)
        self.routers = tuple(routers)
        self.model_pair = ModelPair(strong_model, weak_model)
        """The two models, `strong` and `weak`."""
        self.model_counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        """How often each model was chosen, by router (or policy) and model."""
        known = endpoints_from(
            endpoints,
            strong_model=strong_model,
            weak_model=weak_model,
            fallback_model=fallback_model,
            failover=failover,
        )
        self._endpoints = _with_own(known, self.model_pair, api_base, api_key)
        self._arguments: dict[str, Any] = {"api_key": api_key, "base_url": api_base}
        self._service = service or known.service or DEFAULT_TARGET
        self._service_options = dict(service_options or {})
        self._routing = RoutingClient(self._service, **self._service_options)
        self._lock = threading.Lock()
        self._ledger = CostLedger(self._endpoints, strong_model=strong_model)
        self._sync: RoutedOpenAI | None = None
        self._async: dict[asyncio.AbstractEventLoop, tuple[AsyncRoutedOpenAI, AsyncGenerator[None]]] = {}
        self._closed = False
        self.chat = _Chat(_Completions(self))
        """`chat.completions.create` is `completion`, and `chat.completions.acreate` is `acompletion`."""

    def completion(self, *, router: str | None = None, threshold: float | None = None, **arguments: Any) -> Any:
        """A chat completion, as `openai.OpenAI().chat.completions.create` gives it.

        Args:
            router: With `threshold`, instead of a `model` such as `router-mf-0.11593`. A `model` overrides them.
            threshold: The strong model is chosen when its win rate is at least this, in 0..1.
            **arguments: Of the SDK's method.

        Raises:
            RoutingError: The router or threshold is wrong, or there is no decision.
            openai.APIError: The model's.
        """
        model = self._model(arguments.pop("model", None), router, threshold)
        response = self._client().chat.completions.create(model=model, **arguments)
        self._count(model, response)
        return response

    async def acompletion(self, *, router: str | None = None, threshold: float | None = None, **arguments: Any) -> Any:
        """`completion` for asyncio."""
        model = self._model(arguments.pop("model", None), router, threshold)
        client = await self._async_client()
        response = await client.chat.completions.create(model=model, **arguments)
        self._count(model, response)
        return response

    def route(self, prompt: str, router: str, threshold: float) -> str:
        """The model that `prompt` would go to.

        Raises:
            RoutingError: As for `completion`.
        """
        self._check(router)
        decision = self._routing.decide(prompt, router=router, threshold=threshold)
        return self.model_pair.strong if decision.is_strong else self.model_pair.weak

    def batch_calculate_win_rate(self, prompts: Iterable[str], router: str) -> Any:
        """The strong win rate in 0..1 of each prompt.

        Args:
            prompts: A list, or a `pandas.Series`.
            router: The router's name.

        Returns:
            A list of floats; for a Series, a Series with the same index and name.

        Raises:
            RoutingError: As for `completion`, or that of the first prompt that could not be scored.
        """
        self._check(router)
        rates = [_win_rate(each) for each in self._routing.decide_batch(prompts, router=router, threshold=0.0)]
        index = getattr(prompts, "index", None)
        if index is None or callable(index):  # a list has an `index` too, a method
            return rates
        series: Any = prompts
        return type(series)(rates, index=index, name=series.name, dtype=float)

    @property
    def costs(self) -> CostLedger:
        """What was spent, and what the strong model alone would have cost."""
        return self._ledger

    def close(self) -> None:
        """Close all connections except those of `acompletion`, which end with their event loop or `aclose`."""
        with self._lock:
            self._closed = True
            client, self._sync = self._sync, None
        if client is not None:
            client.close()
        self._routing.close()

    async def aclose(self) -> None:
        """Close everything, including the connections that `acompletion` made on this event loop."""
        self.close()
        with self._lock:
            known = self._async.pop(asyncio.get_running_loop(), None)
        if known is not None:
            await known[1].aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _client(self) -> RoutedOpenAI:
        with self._lock:
            self._check_open()
            if self._sync is None:
                self._sync = RoutedOpenAI(
                    service=self._routing, endpoints=self._endpoints, costs=self._ledger, **self._arguments
                )
            return self._sync

    async def _async_client(self) -> AsyncRoutedOpenAI:
        # Programs that call `asyncio.run` more than once have a new loop each time; a connection belongs to its loop.
        loop = asyncio.get_running_loop()
        with self._lock:
            self._check_open()
            known = self._async.get(loop)
            if known is not None:
                return known[0]
            for ended in [each for each in self._async if each.is_closed()]:
                del self._async[ended]
            service = AsyncRoutingClient(self._service, **self._service_options)
            client = AsyncRoutedOpenAI(
                service=service, endpoints=self._endpoints, costs=self._ledger, **self._arguments
            )
            guard = _open_until_the_loop_ends(client, service)
            self._async[loop] = (client, guard)
        await anext(guard)
        return client

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this Controller is closed")

    def _model(self, model: str | None, router: str | None, threshold: float | None) -> str:
        if model is None:
            if router is None or threshold is None:
                raise invalid("model", "is missing; give it, or router and threshold")
            model = model_name(router, threshold=threshold)
        routed = parse_model(model)
        if routed is not None and not routed.is_named:
            self._check(routed.name)
        return model

    def _check(self, router: str) -> None:
        if router not in self.routers:
            raise invalid("router", f"is {router!r}; this Controller was made for: {', '.join(self.routers) or 'none'}")

    def _count(self, model: str, response: Any) -> None:
        routed, routing = parse_model(model), routing_of(response)
        if routed is not None:
            with self._lock:
                self.model_counts[routed.name][routing.failed_over_from or routing.model] += 1


class _Completions:
    """OpenAI's names for a controller's methods."""

    def __init__(self, controller: Controller) -> None:
        self.create = controller.completion
        self.acreate = controller.acompletion


class _Chat:
    def __init__(self, completions: _Completions) -> None:
        self.completions = completions


async def _open_until_the_loop_ends(client: AsyncRoutedOpenAI, service: AsyncRoutingClient) -> AsyncGenerator[None]:
    # A loop that ends closes the asynchronous generators that were begun on it (`loop.shutdown_asyncgens`).
    try:
        yield
    finally:
        await client.close()
        await service.close()


def _with_own(known: Endpoints, pair: ModelPair, api_base: str | None, api_key: str | None) -> Endpoints:
    """The endpoints, and one through LiteLLM for each model of the pair that only LiteLLM can reach."""
    models = dict(known)
    for name in (pair.strong, pair.weak):
        provider, slash, _ = name.partition("/")
        if slash and provider != "openai" and api_base is None and known.find(name) is None:
            models[name] = Endpoint(LITELLM, api_key=api_key, upstream_model=name)
    return replace(known, models=models)


def _win_rate(result: Decision | RoutingError) -> float:
    if isinstance(result, RoutingError):
        raise result
    if result.strong_win_rate is None:
        raise RouterFailedError(
            f"the router gave no win rate ({result.fallback_reason})", reason=result.fallback_reason
        )
    return result.strong_win_rate
