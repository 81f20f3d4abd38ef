"""Prompts that are nearly the same, which belong on one side of a split."""

from __future__ import annotations

from collections.abc import Sequence

from routing_lab.data.questions import MIN_QUESTION_WORDS, normalised, question_stem

# How many words at a question's end, or at the start of a passage, make two prompts near-duplicates. The opening must
# be longer than the instructions that all questions of a task share.
ENDING_WORDS, OPENING_WORDS = 24, 64


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
        whole = stem if len(stem) >= MIN_QUESTION_WORDS else normalised(prompt).split(" ")
        key = "end " + " ".join(whole[-ENDING_WORDS:])
        keys.append(key)
        if len(stem) >= OPENING_WORDS:
            one, other = sorted((root(key), root("opening " + " ".join(stem[:OPENING_WORDS]))))
            parents[other] = one
    return [root(key) for key in keys]
