"""A small OpenAI-compatible `/v1/embeddings` on loopback, which answers from a table, or as badly as a test wants."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True)
class Request:
    """One request as it came in: headers with lower-case names, and the body."""

    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class ScriptedResponse:
    """What to send; `close` drops the connection instead, after the delay. A body of None is the right one."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    close: bool = False


class FakeEmbeddingsEndpoint:
    """Answers from `vectors`, text to numbers. `behave`, when set, says what to send instead for a request.

    Use it as a context manager.
    """

    def __init__(self, vectors: Mapping[str, Sequence[float]] | None = None) -> None:
        self.vectors = dict(vectors or {})
        self.behave: Callable[[Request], ScriptedResponse] | None = None
        self.requests: list[Request] = []
        self._stopped = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def base_url(self) -> str:
        """What goes into `base_url`."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def right_answer(self, body: Mapping[str, Any]) -> bytes:
        """What a sound endpoint says."""
        data = []
        for index, text in enumerate(body["input"]):
            vector = np.asarray(self.vectors[text], "<f4")
            encoded = body.get("encoding_format") == "base64"
            embedding = base64.b64encode(vector.tobytes()).decode() if encoded else vector.tolist()
            data.append({"object": "embedding", "index": index, "embedding": embedding})
        tokens = sum(len(text.split()) for text in body["input"])
        return json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": tokens}}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                request = Request({name.lower(): value for name, value in self.headers.items()}, json.loads(raw))
                endpoint.requests.append(request)
                answer = endpoint.behave(request) if endpoint.behave else ScriptedResponse()
                if answer.delay_seconds and endpoint._stopped.wait(answer.delay_seconds):
                    answer = ScriptedResponse(close=True)
                if answer.close or urlsplit(self.path).path != "/v1/embeddings":  # a proxy gets the whole URL
                    self.close_connection = True
                    return
                body = endpoint.right_answer(request.body) if answer.body is None else answer.body
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing on stderr."""

        return Handler
