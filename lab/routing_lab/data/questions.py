"""What a prompt asks, by its words: what tells one question from another however it is laid out."""

from __future__ import annotations

import re

# A question of fewer words may occur anywhere by chance: it is not recognised by a part.
MIN_QUESTION_WORDS = 8


def normalised(text: str) -> str:
    """Lower-case words and numbers, one space between them: equal for texts that differ in layout and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def question_stem(prompt: str) -> str:
    """A multiple-choice prompt without its options; any other prompt unchanged."""
    return re.split(r"\n(?:A\.|\(A\)|A\)) ", prompt, maxsplit=1)[0]
