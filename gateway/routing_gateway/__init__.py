"""The OpenAI-compatible gateway: any OpenAI SDK, in any language, with a router's name in the place of a model's.

::

    routing-gateway --service 127.0.0.1:50051 --base-url https://api.openai.com/v1 \
        --strong-model gpt-4.1 --weak-model gpt-4.1-mini

    client = OpenAI(base_url="http://127.0.0.1:6060/v1")
    client.chat.completions.create(model="router-static-50pct", messages=[...])

The decision service decides; the gateway puts the chosen model's name into the request, which it leaves as it came
otherwise, and passes the answer on as it arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routing_gateway.app import create_app
    from routing_gateway.config import GatewayConfig

__all__ = ["GatewayConfig", "create_app"]


def __getattr__(name: str) -> Any:
    # Imported at first use, so that `routing-gateway --help` is answered at once.
    if name == "create_app":
        from routing_gateway.app import create_app

        return create_app
    if name == "GatewayConfig":
        from routing_gateway.config import GatewayConfig

        return GatewayConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
