"""The configuration's `asks`: what of a request is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_TAG = re.compile(r"[A-Za-z_][\w.:-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AsksConfig:
    """What of a prompt or a conversation is read. See [asks.md](asks.md).

    Example:
        asks:
          strip: default
          wrappers: [project-notes, session_state]
    """

    strip: Literal["default", "none"] = "default"
    """`default` reads what a person asks, without what programs put around it. `none` reads the whole text."""
    wrappers: tuple[str, ...] = ()
    """Names of further tags. `<name>...</name>` is left out wherever it stands."""

    def __post_init__(self) -> None:
        for name in self.wrappers:
            if not _TAG.fullmatch(name):
                raise ValueError(f"wrappers: {name!r} is no name of a tag; write the name alone, e.g. project-notes")
