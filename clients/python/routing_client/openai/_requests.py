"""Reading and changing the SDK's requests before they are sent."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from routing_client._requests import invalid
from routing_client.exceptions import FieldViolation, ModelNameError
from routing_client.openai._sdk import openai

if TYPE_CHECKING:
    from routing_client.endpoints import Endpoint
    from routing_client.types import Messages


def body_of(options: Any) -> Mapping[str, Any]:
    """The JSON object that a request will send, `extra_body` included; empty when it sends none."""
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    return {**body, **options.extra_json} if isinstance(options.extra_json, Mapping) else body


def asked_model(options: Any, body: Mapping[str, Any]) -> str | None:
    """The model that a request asks for; None when it names none, such as listing models."""
    model = body.get("model")
    return model if isinstance(model, str) and options.method.lower() == "post" else None


def prompt_of(path: str, body: Mapping[str, Any]) -> str | Messages:
    """The prompt or chat to decide on.

    Raises:
        ModelNameError: No decision can be asked for at this path.
        InvalidRequestError: There is nothing to decide on.
    """
    match path:
        case "/chat/completions":
            return _messages(body.get("messages"), "messages")
        case "/responses":
            value = body.get("input")
            if isinstance(value, str):
                return value
            # Tool calls, their results and reasoning are between the messages and have no role.
            return [item for item in _messages(value, "input") if isinstance(item, Mapping) and "role" in item]
        case "/completions":
            value = body.get("prompt")
            if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
                value = value[0]
            if not isinstance(value, str):
                raise invalid("prompt", "must be one str to be routed; several may need different models")
            return value
        case _:
            message = (
                f"no decision can be asked for at {path}, only at /chat/completions, /completions and /responses; "
                "name the model itself"
            )
            raise ModelNameError(message, field_violations=[FieldViolation("model", message)])


def changed(
    options: Any, *, model: str | None, max_retries: int, timeout: Any, post_parser: Callable[[Any], Any] | None
) -> Any:
    """A copy of a request's options for one attempt.

    Args:
        options: The SDK's.
        model: The upstream's name for it; None when the request names none.
        max_retries: How often the SDK itself may try again.
        timeout: For a request without its own; `openai.NOT_GIVEN` for that of the sending client.
        post_parser: Gets what the SDK parses from the response, before and after any parser of the SDK's
            own; None if not needed.
    """
    new = copy.copy(options)
    if model is not None and isinstance(options.json_data, Mapping):
        new.json_data = {**options.json_data, "model": model}
        if isinstance(options.extra_json, Mapping) and "model" in options.extra_json:
            new.extra_json = {**options.extra_json, "model": model}
    new.max_retries = max_retries
    if isinstance(options.timeout, openai.NotGiven):
        new.timeout = timeout
    sdk_parser = options.post_parser
    if post_parser is None:
        return new
    if isinstance(sdk_parser, openai.NotGiven):
        new.post_parser = post_parser
    else:
        # `parse` makes a new object from a completion.
        new.post_parser = lambda value: post_parser(sdk_parser(post_parser(value)))
    return new


def without_key(options: Any, endpoint: Endpoint) -> None:
    """Send no key to an endpoint without one in `Authorization`, unless the request has its own."""
    has_key = endpoint.api_key is not None or endpoint.api_key_env is not None
    if has_key and (endpoint.api_key_header or "authorization").lower() == "authorization":
        return
    headers = {} if isinstance(options.headers, openai.NotGiven) else dict(options.headers)
    if "authorization" not in {name.lower() for name in (*headers, *endpoint.headers)}:
        options.headers = {"Authorization": openai.Omit(), **headers}


def _messages(value: Any, field: str) -> Sequence[Any]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return value
    raise invalid(field, f"must be a list of messages, not {type(value).__name__}")
