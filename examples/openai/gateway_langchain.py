"""LangChain's `ChatOpenAI` at the gateway: only the base URL and the model's name say that anything is routed.

Needs `pip install langchain-openai`, a running `routing-gateway`, and OPENAI_API_KEY, which the gateway passes on.
"""

from __future__ import annotations

import os

from langchain_openai import ChatOpenAI

GATEWAY = os.environ.get("GATEWAY_URL", "http://127.0.0.1:6060")


def main() -> None:
    """Ask once, and stream once."""
    chat = ChatOpenAI(model="router-static-50pct", base_url=f"{GATEWAY}/v1", include_response_headers=True)
    answer = chat.invoke("What is the capital of France?")
    headers = answer.response_metadata["headers"]
    print(f"{headers['x-routing-model']} (win rate {headers['x-routing-win-rate']}): {answer.content}")
    for chunk in chat.stream("Count to five."):
        print(chunk.content, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
