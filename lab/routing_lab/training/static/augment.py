"""Light paraphrases: what people put around an ask without asking anything else."""

from __future__ import annotations

import re

import numpy as np

GREETINGS = (
    "Hi! ",
    "Hello, ",
    "hey, ",
    "Hi there. ",
    "Good morning. ",
    "Hello, can you help me? ",
    "I have a question. ",
)
CLOSINGS = (" Thanks!", " Thank you.", " Please.", " please", " Thanks in advance!", "\n\nThank you very much.")


def paraphrase(text: str, rng: np.random.Generator) -> str:
    """One of these, at random: a greeting, a closing, case, missing punctuation, swapped letters."""
    kind = int(rng.integers(10))
    if kind < 3:
        return str(rng.choice(GREETINGS)) + text
    if kind < 5:
        return text + str(rng.choice(CLOSINGS))
    if kind == 5:
        return f"please {text[:1].lower()}{text[1:]}"
    if kind == 6:
        return text.lower()
    if kind == 7:
        return text.upper()
    if kind == 8:
        return re.sub(r"[?.!]+\s*$", "", text)
    places = [m.start() for m in re.finditer(r"(?<=\w)\w(?=\w\w)", text[:400])]
    for _ in range(1 + len(text) // 60):
        if places:
            at = int(rng.choice(places))
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text
