"""OpenAI's Python SDK with a routed model: plain, streamed, with asyncio, and what it cost.

Needs `pip install 'routing-client[openai]'`, a running `routing-service serve`, and OPENAI_API_KEY.
"""

from __future__ import annotations

import asyncio
import os

from routing_client.endpoints import Endpoint, Endpoints
from routing_client.openai import AsyncRoutedOpenAI, RoutedOpenAI, routing_of

SERVICE = os.environ.get("ROUTING_SERVICE", "127.0.0.1:50051")
MODEL = "router-static-50pct"  # the router `static`, strong for about half of all prompts

# Names, places and prices in code; a YAML file such as endpoints.yaml does as well.
OPENAI = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
ENDPOINTS = Endpoints(
    {
        "gpt-4.1": Endpoint(OPENAI, api_key_env="OPENAI_API_KEY", input_price=2.0, output_price=8.0),
        "gpt-4.1-nano": Endpoint(OPENAI, api_key_env="OPENAI_API_KEY", input_price=0.1, output_price=0.4),
    },
    service=SERVICE,
    strong_model="gpt-4.1",
    weak_model="gpt-4.1-nano",
    failover=True,
)


def main() -> None:
    """Ask in three ways."""
    with RoutedOpenAI(endpoints=ENDPOINTS) as client:
        for prompt in ("Hi there!", "Prove that there are infinitely many primes congruent to 3 modulo 4."):
            response = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}])
            routing = routing_of(response)
            win_rate = routing.decision.strong_win_rate if routing.decision else None
            print(f"{response.model} (win rate {win_rate}, ${routing.cost}): {response.choices[0].message.content}")

        stream = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Name three colours."}],
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="")
        print(f"\n{routing_of(stream).model}, {routing_of(stream).usage}")
        print(f"spent ${client.costs.spent:.6f}; all strong would have been ${client.costs.all_strong:.6f}")
    asyncio.run(with_asyncio())


async def with_asyncio() -> None:
    """The same for asyncio, two at a time."""
    async with AsyncRoutedOpenAI(endpoints=ENDPOINTS) as client:
        calls = [
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}])
            for prompt in ("What is the capital of France?", "Why does a B-tree stay balanced?")
        ]
        for response in await asyncio.gather(*calls):
            print(f"{response.model}: {response.choices[0].message.content}")


if __name__ == "__main__":
    main()
