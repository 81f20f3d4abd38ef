"""How far long work is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Step = Callable[..., object]
"""Called after each step, or with how many steps are done since the last call."""
Progress = Callable[[str, int], AbstractContextManager[Step]]
"""Given what is being done and its number of steps, a context whose value is a `Step`."""


@contextmanager
def terminal_progress(what: str, steps: int) -> Iterator[Step]:
    """A progress bar on stderr, if that is a terminal."""
    from tqdm import tqdm

    with tqdm(total=steps, desc=what, disable=None) as bar:
        yield bar.update
