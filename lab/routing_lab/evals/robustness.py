"""How often a router decides otherwise about a prompt that asks the same.

Each prompt is edited in the ways of `EDITS`, and a *flip* is an edited prompt on the other side of the threshold. What
RouterArena calls robustness is one minus the share of flips.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from routing_lab.evals.metrics import Float64

# More prompts make the shares hardly more certain: of 500, a share of 5 % is known to 2 points (95 %).
MAX_PROMPTS = 500

_REMINDER = "<system-reminder>\nThe tests are in tests/. Keep answers short.\n</system-reminder>"
_END = re.compile(r"[.?!\s]+$")
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True, slots=True)
class Robustness:
    """Flips of one router on one benchmark.

    `threshold` sends the share `strong_share`, 0..1, of the benchmark's prompts to the strong model. `flips` has for
    each edit the share, 0..1, of `prompts` prompts that it sends to the other model.
    """

    strong_share: float
    threshold: float
    prompts: int
    flips: Mapping[str, float]

    @property
    def mean_flips(self) -> float:
        """The mean share of flips over the edits, 0..1."""
        return float(np.mean(list(self.flips.values())))


def _typo(prompt: str, chance: Random) -> str:
    """Two inner letters of one word swapped."""
    words = list(_WORD.finditer(prompt))
    if not words:
        return prompt
    word = chance.choice(words)
    at = chance.randrange(word.start() + 1, word.end() - 2)
    return prompt[:at] + prompt[at + 1] + prompt[at] + prompt[at + 2 :]


def _same_case(added: str, prompt: str) -> str:
    """`added` before the prompt, whose first letter then becomes lower case, unless the second is upper case too."""
    first = prompt[:1].lower() if not prompt[1:2].isupper() else prompt[:1]
    return added + first + prompt[1:]


EDITS: Mapping[str, Callable[[str, Random], str]] = {
    "space at the end": lambda prompt, _: prompt + " \n",
    "space at the start": lambda prompt, _: "\n " + prompt,
    "doubled spaces": lambda prompt, _: prompt.replace(" ", "  "),
    "lower case": lambda prompt, _: prompt.lower(),
    "upper case": lambda prompt, _: prompt.upper(),
    "no end mark": lambda prompt, _: _END.sub("", prompt) or prompt,
    "one typo": _typo,
    "please first": lambda prompt, _: _same_case("Please ", prompt),
    "please last": lambda prompt, _: prompt + " Please.",
    "a greeting": lambda prompt, _: "Hi! " + prompt,
    "a question first": lambda prompt, _: "Hello, can you help me? " + prompt,
    "thanks": lambda prompt, _: prompt + " Thanks!",
    "harness text before": lambda prompt, _: f"{_REMINDER}\n\n{prompt}",
    "harness text after": lambda prompt, _: f"{prompt}\n\n{_REMINDER}",
    "a task tag": lambda prompt, _: f"<task>\n{prompt}\n</task>",
}


def threshold_of(rates: Float64, strong_share: float) -> float:
    """The highest threshold at which at least `strong_share`, in 0..1, of the prompts with `rates` are strong."""
    ordered = np.sort(rates)[::-1]
    return float(ordered[max(0, math.ceil(strong_share * len(ordered)) - 1)])


def edited(prompts: Sequence[str], seed: int) -> dict[str, list[str]]:
    """By the name of each of `EDITS`, the prompts so edited. An edit may leave a prompt as it is."""
    return {
        name: [edit(prompt, Random(f"{seed} {prompt}")) for prompt in prompts]  # noqa: S311 - for typos
        for name, edit in EDITS.items()
    }


def sample(prompts: Sequence[str], seed: int) -> list[str]:
    """At most `MAX_PROMPTS` of the prompts, in their order."""
    if len(prompts) <= MAX_PROMPTS:
        return list(prompts)
    rows = Random(seed).sample(range(len(prompts)), MAX_PROMPTS)  # noqa: S311 - no secret
    return [prompts[row] for row in sorted(rows)]


def flips(before: Float64, after: Mapping[str, Float64], threshold: float) -> dict[str, float]:
    """The share of prompts, 0..1, that each edit sends to the other model.

    Args:
        before: win rates of the prompts, (prompts,).
        after: by edit, win rates of the edited prompts, (prompts,).
        threshold: strong at and above it.
    """
    strong = before >= threshold
    return {name: float(np.mean((rates >= threshold) != strong)) for name, rates in after.items()}
