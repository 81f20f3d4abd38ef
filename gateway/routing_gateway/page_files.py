"""The chat page's files, read once into memory: there are few, and a path can then lead nowhere else."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import Response

from routing_gateway.errors import GatewayError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

    from routing_gateway.state import State

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
}
# Nothing but the page's own files, and nobody may frame it: an answer of a model is text from a stranger.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageFiles:
    """Answers `GET /` and `GET /page/...`."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, dict[str, str]]] = {}
        folder = resources.files("routing_gateway") / "page"
        if folder.is_dir():
            self._read(folder, "")

    async def __call__(self, _state: State, request: Request) -> Response:
        """The file for the path."""
        path = request.url.path
        found = self._files.get("index.html" if path == "/" else path.removeprefix("/page/"))
        if found is None:
            raise GatewayError(404, "there is no such page", code="not_found")
        return Response(found[0], headers=found[1])

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                self._read(entry, f"{prefix}{entry.name}/")
                continue
            kind = _TYPES.get(entry.name.rpartition(".")[2])
            if kind is not None:
                self._files[prefix + entry.name] = (
                    entry.read_bytes(),
                    {
                        "content-type": kind,
                        "content-security-policy": _POLICY,
                        "x-content-type-options": "nosniff",
                        "referrer-policy": "no-referrer",
                        "cache-control": "no-cache",
                    },
                )
