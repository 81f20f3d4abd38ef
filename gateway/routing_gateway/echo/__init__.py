"""An offline stand-in for an LLM provider: an OpenAI-compatible server that answers with what it was told.

It needs no key and no network, so `routing-service chat` runs on it, and it fails on demand, so tests do::

    with serve_echo() as echo:
        client = openai.OpenAI(base_url=echo.base_url, api_key="none", max_retries=0)
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "hi"}])
        assert echo.state.counters.completed == 1

A request fails as its header `x-echo-fault`, or what follows a `#` in its model's name, says: `gpt-4#status=429`,
`gpt-4#broken=3`, `gpt-4#delay=2,not-json`. `Fault` lists them all.
"""

from routing_gateway.echo.app import EchoState, Received, create_echo
from routing_gateway.echo.faults import FAULT_HEADER, Fault
from routing_gateway.echo.reply import Counters
from routing_gateway.echo.server import RunningEcho, serve_echo

__all__ = [
    "FAULT_HEADER",
    "Counters",
    "EchoState",
    "Fault",
    "Received",
    "RunningEcho",
    "create_echo",
    "serve_echo",
]
