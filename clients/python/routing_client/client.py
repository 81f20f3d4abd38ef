"""The synchronous client."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self

import grpc

from routing_client import _flows
from routing_client._batch import as_requests
from routing_client._gen.llmrouting.v1.routing_service_pb2_grpc import RoutingServiceStub
from routing_client._prompt_stream import PromptStream
from routing_client._settings import (
    DEFAULT_BATCH_TIMEOUT,
    DEFAULT_CHUNK_SIZE,
    DEFAULT_TIMEOUT,
    Metadata,
    OnUnavailable,
    Settings,
)
from routing_client._status import error_from_call
from routing_client.flow import run
from routing_client.targets import DEFAULT_TARGET
from routing_client.types import Calibration, Decision, DecisionRequest, Messages, ModelPair, Requirements, RouterList

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from routing_client.exceptions import RoutingError


class RoutingClient:
    """Asks the routing service whether the strong or the weak model should answer a prompt.

    One client serves any number of threads: make one and keep it. It connects at its first call, and again in each
    process that calls it. So a client made before a fork (a pre-loading web server) works in the children, if the
    parent has made no call yet: gRPC's threads do not survive a fork.

    Args:
        target: The service's address: `host:port`, `unix:PATH`, or a gRPC target such as `dns:///router:50051`.
        timeout: Seconds for a `decide` or `routers` call, including attempts and connecting. Raise it for a router that
            embeds through a remote API.
        batch_timeout: Seconds for each call that `decide_batch` makes.
        on_unavailable: What `decide` and `decide_batch` do when there is no decision although the request is right:
            `"raise"` the error, or answer `"strong"` or `"weak"` with `reason` unavailable. `routing_client.exceptions`
            lists the errors that this covers. Such answers are logged as a warning, without the prompt.
        strong_model: The strong model's name in such an answer, unless the call's `models` names one. Without either,
            the answer's `model` is the word `strong`: use `tier` then.
        weak_model: Likewise for the weak model.
        chunk_size: The most items that `decide_batch` sends in one call.
        max_attempts: The most attempts of a call while the service answers UNAVAILABLE, from 1 to 5.
        credentials: For TLS, from `grpc.ssl_channel_credentials()`. None: plain text.
        metadata: Sent with every call, for example `{"authorization": "Bearer ..."}`. Keys are lower case.
        options: gRPC channel options. They override the client's own.

    Raises:
        ValueError: An argument makes no sense, or the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        batch_timeout: float = DEFAULT_BATCH_TIMEOUT,
        on_unavailable: OnUnavailable = "raise",
        strong_model: str | None = None,
        weak_model: str | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        max_attempts: int = 3,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata | None = None,
        options: Iterable[tuple[str, Any]] = (),
    ) -> None:
        self._settings = Settings.make(
            target,
            timeout=timeout,
            batch_timeout=batch_timeout,
            on_unavailable=on_unavailable,
            strong_model=strong_model,
            weak_model=weak_model,
            chunk_size=chunk_size,
            max_attempts=max_attempts,
            credentials=credentials,
            metadata=metadata,
            options=options,
        )
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._pid = os.getpid()
        self._closed = False

    def decide(
        self,
        prompt: str | Messages,
        *,
        router: str | None = None,
        threshold: float | None = None,
        strong_share: float | None = None,
        policy: str | None = None,
        models: ModelPair | tuple[str, str] | None = None,
        session_id: str | None = None,
        request_id: str | None = None,
        explain: bool = False,
        requirements: Requirements | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Decision:
        """Decide for one prompt or chat.

        Give at most one of `threshold`, `strong_share` and `policy`. Without any, the server's default applies.

        Args:
            prompt: The text, or a chat in OpenAI's format; what its newest user message asks is routed. Of
                parts without text (images, audio, files, tool results) only the kind is sent.
            router: The router's name. None: that of the policy, else the server's default.
            threshold: The strong model is chosen when its win rate is at least this, in 0..1.
            strong_share: The wanted share of strong decisions, in 0..1.
            policy: The name of a policy in the server's configuration.
            models: (strong, weak), to choose between these instead of the router's own.
            session_id: Names a conversation whose decisions may be kept together.
            request_id: The caller's name for this request. The decision has it too.
            explain: Whether the decision's `explanation` should say what was read and what mattered.
            requirements: What the chosen model must be able to do. A server that does not support them yet refuses.
            metadata: Facts for the rules of the server's configuration; at most 32, each at most 256 bytes.
            timeout: Seconds, instead of the client's.

        Raises:
            RoutingError: See `routing_client.exceptions`; outages only when `on_unavailable` is `"raise"`.
        """
        request = DecisionRequest(
            prompt,
            router,
            threshold,
            strong_share,
            policy,
            models,
            session_id,
            request_id,
            explain,
            requirements,
            metadata,
        )
        return run(_flows.decide(self._settings, request, timeout), self._invoke)

    def decide_batch(
        self,
        items: Iterable[str | Messages | DecisionRequest],
        *,
        router: str | None = None,
        threshold: float | None = None,
        strong_share: float | None = None,
        policy: str | None = None,
        models: ModelPair | tuple[str, str] | None = None,
        timeout: float | None = None,
    ) -> list[Decision | RoutingError]:
        """Decide for many at once: one result for each item, in order.

        For an item that is wrong, or that the router failed at, the result is its exception. It is **returned, not
        raised**, and affects no other item. A whole call's failure (an outage, with `on_unavailable="raise"`; missing
        credentials) is raised. With `on_unavailable` `"strong"` or `"weak"`, each item that an outage left without a
        decision gets one.

        Long lists are sent in several calls of at most the client's `chunk_size` items and about 3 MiB each, or fewer
        if the server's limit is lower.

        Args:
            items: Prompts, chats, or `DecisionRequest`s. The arguments below apply to the first two only: a
                `DecisionRequest` has settings of its own.
            router: As for `decide`; so are the arguments that follow.
            threshold: As for `decide`.
            strong_share: As for `decide`.
            policy: As for `decide`.
            models: As for `decide`.
            timeout: Seconds for each call, instead of the client's `batch_timeout`.

        Raises:
            RoutingError: A whole call failed.
        """
        requests = as_requests(items, router, threshold, strong_share, policy, models)
        return run(_flows.decide_batch(self._settings, requests, timeout), self._invoke)

    def routers(self, *, timeout: float | None = None) -> RouterList:
        """The routers that the server serves, and its policies.

        Raises:
            RoutingError: The call failed. `on_unavailable` does not apply.
        """
        return run(_flows.routers(self._settings, timeout), self._invoke)

    def calibrate(
        self,
        prompts: Iterable[str | Messages] | None = None,
        *,
        strong_shares: Sequence[float],
        router: str | None = None,
        models: ModelPair | tuple[str, str] | None = None,
        timeout: float | None = None,
    ) -> Calibration:
        """Thresholds for wanted shares of strong decisions.

        Without `prompts`, from the router's own calibration table, like `CalibrationTable.threshold_for`. With prompts,
        the server scores them as they stream. Neither side keeps them, so there may be any number. An older
        server raises `NotImplementedByServerError`.

        Args:
            prompts: A sample of the caller's own traffic: texts or chats as for `decide`, at least one. It is iterated
                once, in one of gRPC's threads and as fast as the server takes them.
            strong_shares: The wanted shares, in 0..1, at least one.
            router: The router's name. None: the server's default.
            models: (strong, weak), to score for these instead of the router's own; with prompts only.
            timeout: Seconds. The default is the client's `timeout` without prompts, and 300 with them.

        Raises:
            InvalidRequestError: There is no prompt, or one is empty or too large. `metadata["index"]` is its number,
                from 0.
            FailedPreconditionError: The router has no calibration table, and no prompts are given.
            RoutingError: The call failed. `on_unavailable` does not apply.
            Exception: Any exception of iterating `prompts`.
        """
        flow = _flows.calibrate(self._settings, prompts, strong_shares, router, models, timeout)
        return run(flow, self._invoke)

    def close(self) -> None:
        """Close the connection. Running calls fail, later calls raise RuntimeError. Closing twice is fine."""
        with self._lock:
            self._closed = True
            # Another process's channel must not be closed here.
            if self._channel is not None and self._pid == os.getpid():
                self._channel.close()
            self._channel = self._stub = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.target!r})"

    def _invoke(self, call: _flows.Call) -> Any:
        """Make one RPC. A fake replaces only this."""
        stub = self._connected()
        stream = call.request if isinstance(call.request, PromptStream) else None
        request = call.request if stream is None else iter(stream)
        try:
            return getattr(stub, call.method)(request, timeout=call.timeout, metadata=self._settings.metadata)
        except grpc.RpcError as error:
            if stream is not None and stream.failure is not None:
                raise stream.failure from None
            raise error_from_call(error, self._settings.proxy) from error

    def _connected(self) -> Any:
        stub = self._stub
        if stub is not None and self._pid == os.getpid():
            return stub
        with self._lock:
            if self._closed:
                raise RuntimeError("this client is closed")
            if self._stub is None or self._pid != os.getpid():
                self._channel = self._settings.channel()
                self._stub = RoutingServiceStub(self._channel)
                self._pid = os.getpid()
            return self._stub
