"""Reading a manifest's options into a router type's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from routing_service.artifacts.loading import Artifact
from routing_service.artifacts.manifest import Manifest, SelfTest
from routing_service.artifacts.settings import read_settings
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair


@dataclass(frozen=True)
class Settings:
    count: int
    side: Literal["left", "right"]
    ids: tuple[int, ...]
    label: int | None
    name: str = "plain"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be at least 1")


GOOD = {"count": 2, "side": "left", "ids": [1, 2], "label": None}


def artifact(options: dict[str, Any]) -> Artifact:
    manifest = Manifest("x", ModelPair("a", "b"), 1, {}, "MIT", SelfTest(0.0, ()), options=options)
    return Artifact(Path("folder"), manifest)


def test_options_become_settings() -> None:
    assert read_settings(artifact(GOOD), Settings) == Settings(2, "left", (1, 2), None)
    named = read_settings(artifact({**GOOD, "label": 3, "name": 'a "é"\n😀\\'}), Settings)
    assert (named.label, named.name) == (3, 'a "é"\n😀\\')


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "count"),
        ({**GOOD, "count": "2"}, "options.count"),
        ({**GOOD, "count": True}, "options.count"),
        ({**GOOD, "count": 0}, "count must be at least 1"),
        ({**GOOD, "side": "up"}, "left, right"),
        ({**GOOD, "ids": 3}, "options.ids"),
        ({**GOOD, "ids": [1, None]}, "options.ids[1]"),
        ({**GOOD, "cuont": 1}, "did you mean 'count'"),
    ],
)
def test_odd_options_name_the_manifest_and_the_key(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_settings(artifact(options), Settings)
    assert caught.value.path == Path("folder/manifest.json")
    assert says in str(caught.value)
