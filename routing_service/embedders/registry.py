"""Embedder types by name, and a configuration's embedders. Each is built when a router first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from routing_service.config import Config
from routing_service.embedders.base import Embedder, EmbedderContext
from routing_service.errors import unknown_name
from routing_service.plugins import Plugins
from routing_service.yaml_sections import Section

EMBEDDERS: Plugins[Embedder] = Plugins(
    kind="embedder type",
    group="routing_service.embedders",
    base=Embedder,  # type: ignore[type-abstract] # only ever compared with
    shipped={
        "onnx": "routing_service.embedders.onnx:OnnxEmbedder",
        "openai": "routing_service.embedders.openai:OpenAIEmbedder",
    },
)


class Embedders:
    """The embedders of one configuration, each built once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._types = {name: EMBEDDERS.find(each.type, each.section) for name, each in config.embedders.items()}
        self._built: dict[str, Embedder] = {}

    @property
    def built(self) -> Mapping[str, Embedder]:
        """The embedders that a router has asked for so far, by name."""
        return MappingProxyType(self._built)

    def for_section(self, section: Section) -> Callable[[str], Embedder]:
        """A function from an embedder's name to the embedder. Its errors point at `section`."""

        def get(name: str) -> Embedder:
            if name not in self._types:
                raise section.error(unknown_name("embedder", name, self._types), "embedder")
            if name not in self._built:
                context = EmbedderContext(name, self._config.embedders[name].section)
                self._built[name] = self._types[name].build(context)
            return self._built[name]

        return get

    def build_all(self) -> None:
        """Build the embedders that no router asked for, to report their errors too.

        Raises:
            ConfigError: a section is wrong.
            ArtifactError: an artifact cannot be trusted or read.
        """
        for name, config in self._config.embedders.items():
            self.for_section(config.section)(name)

    def close(self) -> None:
        """Close every embedder that was built."""
        for embedder in self._built.values():
            embedder.close()
