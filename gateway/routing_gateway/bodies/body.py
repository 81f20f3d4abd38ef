"""A request body whose model's name can be replaced without touching anything else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from routing_gateway.bodies.scan import Span


class Body:
    """A request body that has been read.

    Serialising it anew would change what only looks the same: big numbers, escapes, the order of keys, spaces. So a new
    name is spliced in where the old one is.

    Args:
        raw: The body, decoded.
        fields: The top level's; of large bodies those that were asked for.
        places: Where the model's name is in `raw`, in order; several times where the body says it several times.
        encode: Writes a name as the body's format has it.
    """

    def __init__(
        self,
        raw: bytes,
        fields: Mapping[str, Any] | None = None,
        places: Sequence[Span] = (),
        encode: Callable[[str], bytes] = str.encode,
    ) -> None:
        self.raw = raw
        self.fields = fields or {}
        self._places = places
        self._encode = encode

    @property
    def model(self) -> Any:
        """What stands where the model's name should; None when nothing does."""
        return self.fields.get("model")

    def with_model(self, name: str) -> bytes:
        """The body with another name, wherever it says one, and every other byte as it came."""
        if not self._places or (len(self._places) == 1 and self.model == name):
            return self.raw
        new = self._encode(name)
        # Views: what is around the name is copied once, not twice, which takes 10 ms for a large body.
        raw, end = memoryview(self.raw), 0
        pieces: list[bytes | memoryview] = []
        for place in self._places:
            pieces += [raw[end : place.start], new]
            end = place.stop
        pieces.append(raw[end:])
        return b"".join(pieces)
