"""Names of the same model, such as `openai/gpt-4` and `GPT-4`. All commands use this."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from routing_service.errors import UsageError


@lru_cache(maxsize=4096)
def canonical_model(name: str) -> str:
    """A model's name without its organisation and case: equal for names that mean the same model.

    >>> canonical_model("mistralai/Mixtral-8x7B")
    'mixtral-8x7b'
    """
    return name.strip(" /").rsplit("/", 1)[-1].casefold()


def find_model(name: str, known: Iterable[str]) -> str | None:
    """The known name of the model `name`: the same name, else the only one with the same meaning.

    Returns:
        The name as written in `known`; None if there is none.

    Raises:
        UsageError: several may be meant.
    """
    names = list(known)
    if name in names:
        return name
    found = [other for other in names if canonical_model(other) == canonical_model(name)]
    if len(found) > 1:
        raise UsageError(f"{name!r} may be any of {', '.join(map(repr, found))}; name one of them")
    return found[0] if found else None


class Spelling:
    """One name for each model: the first of its given names, else the first spelling in the data.

    Args:
        known: a name for each model, or several names for one model.
    """

    def __init__(self, known: Iterable[str | Sequence[str]] = ()) -> None:
        groups = [(names,) if isinstance(names, str) else tuple(names) for names in known]
        self._names = {canonical_model(name): group[0] for group in groups for name in group}

    def __call__(self, name: str) -> str:
        """The one name of the model `name`."""
        return self._names.setdefault(canonical_model(name), name)
