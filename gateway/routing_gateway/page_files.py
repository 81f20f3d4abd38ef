"""The chat page's files, read once into memory: there are few, and a path can then lead nowhere else."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from routing_gateway.api import Reply
from routing_gateway.errors import GatewayError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from routing_gateway.exchange import Exchange
    from routing_gateway.state import State

_TYPES = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "ico": b"image/x-icon",
    "js": b"text/javascript; charset=utf-8",
    "png": b"image/png",
    "svg": b"image/svg+xml",
}
# Nothing but the page's own files, and nobody may frame it: an answer of a model is text from a stranger.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageFiles:
    """Answers `GET /` and `GET /page/...`."""

    def __init__(self) -> None:
        self._files: dict[str, Reply] = {}
        folder = resources.files("routing_gateway") / "page"
        if folder.is_dir():
            self._read(folder, "")

    async def __call__(self, _state: State, exchange: Exchange) -> Reply:
        """The file for the path."""
        name = "index.html" if exchange.path == "/" else exchange.path.removeprefix("/page/")
        reply = self._files.get(name)
        if reply is None:
            raise GatewayError(404, "there is no such page", code="not_found")
        return reply

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                self._read(entry, f"{prefix}{entry.name}/")
                continue
            kind = _TYPES.get(entry.name.rpartition(".")[2])
            if kind is not None:
                headers = [
                    (b"content-type", kind),
                    (b"content-security-policy", _POLICY),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-cache"),
                ]
                self._files[prefix + entry.name] = Reply(entry.read_bytes(), headers=headers)
