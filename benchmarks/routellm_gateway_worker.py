"""RouteLLM's own `openai_server` on the loopback, with its `random` router, in front of a given upstream.

It is run by a Python that has `routellm==0.2.0` and its server's packages (fastapi, uvicorn, shortuuid, litellm), and
nothing of this project. The server is unchanged except for three things, in its favour or without effect: it listens
on a free port of the loopback instead of on every interface, writes no line for each request, and does not download
prices.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# For LiteLLM, the text after `openai/` is the name of a model at an OpenAI-compatible server.
STRONG, WEAK = "openai/strong", "openai/weak"


def main() -> None:
    """Serve until SIGTERM; the ready file gets the address when connections are accepted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", required=True, metavar="URL")
    parser.add_argument("--ready-file", type=Path, required=True)
    options = parser.parse_args()
    os.environ |= {"OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    # Its module reads the command line when it is imported.
    sys.argv[1:] = [
        "--routers", "random", "--base-url", options.upstream, "--api-key", "none",
        "--strong-model", STRONG, "--weak-model", WEAK,
    ]  # fmt: skip
    uvicorn: Any = import_module("uvicorn")
    app = import_module("routellm.openai_server").app

    class Server(uvicorn.Server):  # type: ignore[misc] # imported at run time, by the peer's Python
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            temporary = options.ready_file.with_suffix(".tmp")
            temporary.write_text(address + "\n", encoding="utf-8")
            temporary.replace(options.ready_file)

    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        Server(uvicorn.Config(app, access_log=False)).run([listener])


if __name__ == "__main__":
    main()
