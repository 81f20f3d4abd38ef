"""The guard against held-out prompts in training data."""

from __future__ import annotations

from collections.abc import Iterable

from routing_lab.data.questions import MIN_QUESTION_WORDS, normalised, question_stem


class LeakGuard:
    """Recognises prompts that contain the question of a held-out prompt.

    A prompt leaks when its normalised text equals a held-out one, or contains a held-out question of at least
    `MIN_QUESTION_WORDS` words: other data sets wrap the same MMLU question in other templates.
    """

    def __init__(self, held_out: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._by_start: dict[tuple[str, ...], list[str]] = {}
        for prompt in held_out:
            stem = normalised(question_stem(prompt))
            self._exact.update((normalised(prompt), stem))
            words = stem.split(" ")
            if len(words) >= MIN_QUESTION_WORDS:
                self._by_start.setdefault(tuple(words[:MIN_QUESTION_WORDS]), []).append(stem)

    def leaks(self, prompt: str) -> bool:
        """Whether `prompt` must not be trained on."""
        text = normalised(prompt)
        if text in self._exact or normalised(question_stem(prompt)) in self._exact:
            return True
        words = text.split(" ")
        windows = (tuple(words[i : i + MIN_QUESTION_WORDS]) for i in range(len(words) - MIN_QUESTION_WORDS + 1))
        return any(stem in text for window in windows for stem in self._by_start.get(window, ()))
