"""A manifest's `options`, read into the dataclass of a router's type. Every key and value is checked."""

from __future__ import annotations

import json
from typing import TypeVar

from routing_service.artifacts.loading import Artifact
from routing_service.artifacts.manifest import MANIFEST_NAME
from routing_service.errors import ArtifactError, ConfigError
from routing_service.yaml_sections import read_yaml

T = TypeVar("T")


def read_settings(artifact: Artifact, kind: type[T]) -> T:
    """Read the options of an artifact's manifest into the dataclass `kind`, like a section of the configuration.

    Raises:
        ArtifactError: a key is missing or not known, or a value is not allowed; it names manifest.json and the key.
    """
    path = artifact.folder / MANIFEST_NAME
    try:
        # JSON is YAML if its characters are not escaped: YAML knows no surrogate pairs.
        return read_yaml(json.dumps(artifact.manifest.options, ensure_ascii=False), str(path), artifact.folder).parse(
            kind
        )
    except ConfigError as error:
        where = f"options.{error.where}" if error.where else "options"
        raise ArtifactError(
            path, f"was not made for this release: {where}: {error.problem}; export it again"
        ) from error
