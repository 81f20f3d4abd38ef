"""OpenAI's own Python SDK, with the model chosen by the decision service. Needs the extra `openai`.

::

    from routing_client.openai import RoutedOpenAI

    client = RoutedOpenAI(service="127.0.0.1:50051", strong_model="gpt-4.1", weak_model="gpt-4.1-mini")
    response = client.chat.completions.create(
        model="router-static-50pct", messages=[{"role": "user", "content": "Hello!"}]
    )
    print(response.model, response.routing.decision.strong_win_rate)

`RoutedOpenAI` and `AsyncRoutedOpenAI` are subclasses of `openai.OpenAI` and `openai.AsyncOpenAI` and do everything that
these do. Model strings are in `routing_client.model_names`, endpoints in `routing_client.endpoints`.
"""

from routing_client.dispatch import Routing
from routing_client.openai._aio import AsyncRoutedOpenAI
from routing_client.openai._client import RoutedOpenAI
from routing_client.openai._responses import routing_of

__all__ = ["AsyncRoutedOpenAI", "RoutedOpenAI", "Routing", "routing_of"]
