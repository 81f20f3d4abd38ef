"""Classes by name: the shipped ones, imported when they are used, and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from routing_service.errors import unknown_name
from routing_service.yaml_sections import Section

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugins(Generic[T]):
    """The classes of one kind.

    Args:
        kind: what the class is called in an error, e.g. "router type".
        group: the entry point group in which packages add theirs.
        base: the class that each must be a subclass of.
        shipped: `module:Class` by name. A package cannot take a shipped name.
    """

    kind: str
    group: str
    base: type[T]
    shipped: Mapping[str, str]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.shipped, *self._added()})

    def find(self, name: str, section: Section) -> type[T]:
        """The class of that name; `section` is the place of the name in the configuration.

        Raises:
            ConfigError: there is none, or its package is broken.
        """
        try:
            if name in self.shipped:
                module, _, attribute = self.shipped[name].partition(":")
                found = getattr(import_module(module), attribute)
            elif name in (added := self._added()):
                found = added[name].load()
            else:
                raise section.error(unknown_name(self.kind, name, self.names()), "type")
        except (ImportError, AttributeError) as error:
            raise section.error(f"{self.kind} {name!r} cannot be imported: {error}", "type") from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise section.error(f"{self.kind} {name!r} is {found!r}, which is no {self.base.__name__}", "type")
        return found

    def _added(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}
