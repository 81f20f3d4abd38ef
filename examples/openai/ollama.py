"""Both models in a local Ollama: no key, and nothing leaves the machine.

Needs `pip install 'routing-client[openai]'`, a running `routing-service serve`, and the models of ollama.yaml.
Another file of endpoints may be given as the first argument.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from routing_client.openai import RoutedOpenAI

ENDPOINTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("ollama.yaml")


def main() -> None:
    """Stream an answer to each prompt."""
    service = os.environ.get("ROUTING_SERVICE", "127.0.0.1:50051")
    with RoutedOpenAI(service=service, endpoints=ENDPOINTS) as client:
        for prompt in ("Hi there!", "Explain how a lock-free queue avoids the ABA problem."):
            stream = client.chat.completions.create(
                model="router-static-50pct", messages=[{"role": "user", "content": prompt}], stream=True
            )
            for index, chunk in enumerate(stream):
                if index == 0:
                    print(f"[{chunk.model}] ", end="")
                print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
