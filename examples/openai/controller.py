"""A program for RouteLLM's `Controller`. Only the import and the constructor's `service` are new.

Needs `pip install 'routing-client[openai]'`, a running `routing-service serve`, and OPENAI_API_KEY.
"""

from __future__ import annotations

import os

from routing_client.controller import Controller  # was: from routellm.controller import Controller


def main() -> None:
    """Complete a chat, route a prompt, score two."""
    client = Controller(
        routers=["static"],
        strong_model="gpt-4.1",
        weak_model="gpt-4.1-nano",
        service=os.environ.get("ROUTING_SERVICE", "127.0.0.1:50051"),
    )
    response = client.chat.completions.create(
        model="router-static-50pct", messages=[{"role": "user", "content": "Write a haiku about queues."}]
    )
    print(f"{response.model}: {response.choices[0].message.content}")
    print("would go to", client.route("What is 2 + 2?", router="static", threshold=0.5))
    print("win rates", client.batch_calculate_win_rate(["Hi!", "Prove Fermat's little theorem."], router="static"))
    print("chosen", {router: dict(counts) for router, counts in client.model_counts.items()})
    client.close()


if __name__ == "__main__":
    main()
