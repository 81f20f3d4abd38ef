"""A router's win rates on many prompts, in as many processes or threads as help."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from time import monotonic

import numpy as np

from routing_lab.evals.cache import CacheKey, WinRateCache
from routing_lab.evals.metrics import Float64
from routing_lab.evals.routers import LoadedRouter, load_router
from routing_lab.progress import Progress, terminal_progress
from routing_service.asks.reader import AskReader
from routing_service.config import Config
from routing_service.engine import scoring as engine_scoring
from routing_service.engine.engine import SCORING_BATCH
from routing_service.errors import RoutingServiceError, UsageError
from routing_service.models import ModelPair
from routing_service.routers.base import Router

# Prompts in one piece of work: of a router that takes microseconds so many that they are worth sending to another
# process; of any other one batch, or less where there are few prompts, for it may take seconds for each.
CHUNK = 8 * SCORING_BATCH
MIN_PIECE = 8
SAVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Scoring:
    """How prompts are scored.

    `processes` beyond one are started only for a router that computes: one that waits for something remote, whose
    `concurrency` says so, gets that many threads in this process instead.
    """

    config: Config
    processes: int = 1
    progress: Progress = terminal_progress

    def read(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """What each prompt asks, as the configuration says: the texts that a service would score."""
        asks = AskReader(self.config.asks)
        return tuple(map(asks.of_prompt, prompts))


def win_rates(
    loaded: LoadedRouter,
    prompts: Sequence[str],
    how: Scoring,
    kept: tuple[WinRateCache, CacheKey] | None = None,
    *,
    fresh: bool = False,
) -> tuple[Float64, int]:
    """The strong win rate of each of `prompts`, (prompts,), in 0..1, and how many of them came from the cache.

    What has been scored is kept as it comes, so that a run that was interrupted goes on where it stopped.

    Args:
        loaded: the router.
        prompts: different texts, at least one.
        how: see `Scoring`.
        kept: where rates are kept, None for nowhere.
        fresh: score anew what is kept already.

    Raises:
        UsageError: a prompt has no score; says which, counting from 1, and why.
    """
    known = kept[0].load(kept[1], len(prompts)) if kept is not None and not fresh else None
    rates = np.full(len(prompts), np.nan) if known is None else known
    todo = np.flatnonzero(np.isnan(rates))
    cached = len(prompts) - len(todo)
    if not len(todo):
        return rates, cached
    # Neighbours of like length waste little padding, and the longest first leaves no worker with the last long piece.
    order = sorted(todo.tolist(), key=lambda i: -len(prompts[i]))
    saved = monotonic()
    with how.progress(loaded.name, len(prompts)) as step:
        step(cached)
        try:
            for rows, found in _scored(loaded, prompts, order, how):
                rates[rows] = found
                step(len(rows))
                if kept is not None and monotonic() - saved > SAVE_SECONDS:
                    kept[0].save(kept[1], rates)
                    saved = monotonic()
        finally:
            if kept is not None and not np.isnan(rates).all():
                kept[0].save(kept[1], rates)
    return rates, cached


def draw(loaded: LoadedRouter, prompts: Sequence[str], how: Scoring, runs: int) -> Float64:
    """Win rates of a router of chance, (runs, prompts), drawn in order, so that a seed gives the same ones again.

    Where the router's draws are antithetic, every second run is the mirror image of the one before (antithetic
    variates): what luck gives to one it takes from the other, and their mean is that of very many runs.
    """
    rates = np.empty((runs, len(prompts)))
    mirrored = loaded.router.antithetic
    with how.progress(loaded.name, runs * len(prompts)) as step:
        for run in range(runs):
            if mirrored and run % 2:
                rates[run] = 1 - rates[run - 1]
                step(len(prompts))
                continue
            for start in range(0, len(prompts), SCORING_BATCH):
                rows = range(start, min(start + SCORING_BATCH, len(prompts)))
                rates[run, rows] = _score(loaded.router, loaded.pair, [prompts[i] for i in rows], rows)
                step(len(rows))
    return rates


Part = tuple[list[int], list[float]]


def _scored(loaded: LoadedRouter, prompts: Sequence[str], todo: list[int], how: Scoring) -> Iterator[Part]:
    """Parts of `todo` and their rates, as they are done."""
    threads, router = loaded.router.concurrency, loaded.router
    size = _piece_size(router, len(todo), how.processes if threads == 1 else 1)
    parts = [todo[start : start + size] for start in range(0, len(todo), size)]
    pieces = [(rows, [prompts[i] for i in rows]) for rows in parts]
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            works = {pool.submit(_score, router, loaded.pair, texts, rows): rows for rows, texts in pieces}
            yield from _as_done(pool, works)
    elif how.processes > 1 and len(pieces) > 1:
        count = min(how.processes, len(pieces))
        starting = (how.config, loaded.name, loaded.pair)
        with ProcessPoolExecutor(count, get_context("spawn"), _start_worker, starting) as pool:
            works = {pool.submit(_score_in_worker, texts, rows): rows for rows, texts in pieces}
            yield from _as_done(pool, works)
    else:
        for rows, texts in pieces:
            yield rows, _score(router, loaded.pair, texts, rows)


def _piece_size(router: Router, prompts: int, processes: int) -> int:
    """How many prompts to score between two looks at what is done: an interruption loses no more, in each process."""
    least, most = (SCORING_BATCH, CHUNK) if router.inline else (MIN_PIECE, SCORING_BATCH)
    # Several for each process, or the last would be waited for.
    return most if processes == 1 else max(least, min(most, prompts // (4 * processes)))


def _as_done(pool: Executor, works: dict[Future[list[float]], list[int]]) -> Iterator[Part]:
    try:
        for work in as_completed(works):
            yield works[work], work.result()
    except BrokenProcessPool as error:
        raise UsageError(
            "a scoring process stopped, perhaps for lack of memory; go on with fewer, e.g. --parallel 1"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _score(router: Router, pair: ModelPair, texts: Sequence[str], places: Sequence[int]) -> list[float]:
    rates = []
    for start in range(0, len(texts), SCORING_BATCH):
        for offset, scored in enumerate(engine_scoring.score(router, texts[start : start + SCORING_BATCH], pair)):
            if isinstance(scored, engine_scoring.Scored):
                rates.append(scored.strong_win_rate)
            else:
                place = places[start + offset] + 1
                raise UsageError(f"prompt {place}, counting each once, has no score: {scored.message}") from scored
    return rates


# --- in a process of its own -----------------------------------------------------------------------------------

_worker: tuple[Config, str, ModelPair] | None = None
_worker_router: LoadedRouter | None = None


def _start_worker(config: Config, name: str, pair: ModelPair) -> None:
    global _worker  # noqa: PLW0603 - a process has one router, and pools have no other place for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and says what there is to say
    Thread(target=_end_with_the_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads would fight the other processes for cores
    _worker = (config, name, pair)


def _end_with_the_parent() -> None:
    """A parent that is killed cannot stop its workers, and they would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _score_in_worker(texts: list[str], places: list[int]) -> list[float]:
    global _worker_router  # noqa: PLW0603 - see above; loaded here, where an error reaches the parent
    if _worker is None:
        raise RuntimeError("the worker was not started")
    config, name, pair = _worker
    try:
        if _worker_router is None:
            _worker_router = load_router(config, name, pair.strong, pair.weak)
        return _score(_worker_router.router, pair, texts, places)
    except RoutingServiceError as error:
        # Only its text: errors with arguments of their own do not travel between processes.
        raise UsageError(str(error)) from None
