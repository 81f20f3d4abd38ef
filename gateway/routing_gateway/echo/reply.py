"""Sending an answer, whole or in chunks, late, broken or never; and counting how it ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from routing_gateway.echo.faults import Fault

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HTML = b"<!doctype html><title>Welcome</title><p>This is a proxy's page, not an API's answer."


@dataclass(slots=True)
class Counters:
    """How many requests there were, and how they ended."""

    started: int = 0
    completed: int = 0
    """All that was to be sent was sent, a planned break included."""
    aborted: int = 0
    """The caller went away first, or the server was stopped."""

    @property
    def open(self) -> int:
        """Those being answered now."""
        return self.started - self.completed - self.aborted

    def as_json(self) -> dict[str, int]:
        """For `GET /echo/stats`."""
        return {
            "started": self.started,
            "completed": self.completed,
            "aborted": self.aborted,
            "open": self.open,
        }


@dataclass(slots=True)
class Reply:
    """An ASGI response that sends `parts` as `fault` has it, and notices when its caller leaves."""

    counters: Counters
    parts: AsyncIterator[bytes] | bytes
    fault: Fault = field(default_factory=Fault)
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    _completed: bool = field(default=False, init=False)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        self.counters.started += 1
        sending = asyncio.ensure_future(self._send(send))
        watching = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            sending.cancel()
            watching.cancel()
            await asyncio.gather(sending, watching, return_exceptions=True)
            if not self._completed:
                self.counters.aborted += 1

    def _complete(self) -> None:
        """To be called before the last byte goes out: whoever has read the whole answer finds it counted."""
        self._completed = True
        self.counters.completed += 1

    async def _send(self, send: Send) -> None:
        if self.fault.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(self.fault.delay)
        headers = {"content-type": self.media_type, "x-request-id": "echo", **self.headers}
        whole = self.parts if isinstance(self.parts, bytes) else None
        if whole is not None:
            headers["content-length"] = str(len(whole))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await asyncio.sleep(self.fault.first_byte)
        if whole is not None:
            if self.fault.broken:  # fewer bytes than content-length says; the server then drops the connection
                await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
                self._complete()
                return
            self._complete()
            await send({"type": "http.response.body", "body": whole})
            return
        async for part in self._chunks():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        self._complete()
        if not self.fault.broken:
            await send({"type": "http.response.body", "body": b""})

    async def _chunks(self) -> AsyncIterator[bytes]:
        assert not isinstance(self.parts, bytes)  # noqa: S101 - only streams come here, see _send
        sent = 0
        async for part in self.parts:
            yield part
            sent += 1
            if self.fault.broken == sent:
                return
            if self.fault.error_event == sent:
                yield event(error_body("the upstream failed in mid-stream", "server_error", "upstream_failed"))
                return
            if self.fault.bad_event == sent:
                yield b"data: {this is no JSON\n\n"


def event(data: Any) -> bytes:
    """One server-sent event that holds JSON."""
    return b"data: " + to_json(data) + b"\n\n"


def to_json(data: Any) -> bytes:
    """JSON without needless spaces. Half a surrogate pair is spelt out: JSON can hold one, UTF-8 cannot."""
    return json.dumps(data, separators=(",", ":")).encode("ascii")


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's format."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
