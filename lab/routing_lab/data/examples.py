"""Training examples, the dev-half rule, and the guard against leaks of evaluation prompts into training."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Shortest run of words by which a held-out prompt is recognised inside a longer or differently laid out one.
LEAK_WINDOW = 8
# How many words at a question's end, or at the start of a passage, make two prompts near-duplicates. The opening must
# be longer than the instructions that all questions of a task share.
ENDING_WORDS, OPENING_WORDS = 24, 64


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and how the strong model did on it.

    `target` is the strong model's win, 1, loss, 0, or tie, 0.5, or a share between them; `source` is where the row
    comes from, `group` the task within it, `weight` its relative weight in training, `where` its FILE:LINE.
    """

    prompt: str
    target: float
    source: str
    group: str
    weight: float
    where: str = ""


def in_dev_half(prompt: str) -> bool:
    """Whether a prompt of MMLU or GSM8K may be trained and tuned on; the other, audit, half is for reporting only."""
    return int(hashlib.sha256(f"audit-v1|{prompt}".encode()).hexdigest(), 16) % 2 == 1


def normalised(text: str) -> str:
    """Lower-case words and numbers, one space between them: equal for texts that differ in layout and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def question_stem(prompt: str) -> str:
    """A multiple-choice prompt without its options; any other prompt unchanged."""
    return re.split(r"\n(?:A\.|\(A\)|A\)) ", prompt, maxsplit=1)[0]


class LeakGuard:
    """Recognises prompts that contain the question of a held-out prompt.

    A prompt leaks when its normalised text equals a held-out one, or contains a held-out question of at least
    `LEAK_WINDOW` words: other data sets wrap the same MMLU question in other templates.
    """

    def __init__(self, held_out: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._by_start: dict[tuple[str, ...], list[str]] = {}
        for prompt in held_out:
            stem = normalised(question_stem(prompt))
            self._exact.update((normalised(prompt), stem))
            words = stem.split(" ")
            if len(words) >= LEAK_WINDOW:
                self._by_start.setdefault(tuple(words[:LEAK_WINDOW]), []).append(stem)

    def leaks(self, prompt: str) -> bool:
        """Whether `prompt` must not be trained on."""
        text = normalised(prompt)
        if text in self._exact or normalised(question_stem(prompt)) in self._exact:
            return True
        words = text.split(" ")
        windows = (tuple(words[i : i + LEAK_WINDOW]) for i in range(len(words) - LEAK_WINDOW + 1))
        return any(stem in text for window in windows for stem in self._by_start.get(window, ()))


def near_duplicate_groups(prompts: Sequence[str]) -> list[str]:
    """A key for each prompt, equal for near-duplicates, which belong in one fold.

    Prompts are near-duplicates when they ask the same thing (the question ends in the same words, whatever stands
    before it and whatever the options are) or share a long opening, such as a passage that several questions refer to.
    """
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            key = parent
        return key

    keys = []
    for prompt in prompts:
        stem = normalised(question_stem(prompt)).split(" ")
        # "Which of these is true?" is no question without its options.
        whole = stem if len(stem) >= LEAK_WINDOW else normalised(prompt).split(" ")
        key = "end " + " ".join(whole[-ENDING_WORDS:])
        keys.append(key)
        if len(stem) >= OPENING_WORDS:
            one, other = sorted((root(key), root("opening " + " ".join(stem[:OPENING_WORDS]))))
            parents[other] = one
    return [root(key) for key in keys]
