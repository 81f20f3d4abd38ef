"""Win rates of many prompts: in order, in processes and threads, from the cache, and after an interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from routing_lab.evals import scoring
from routing_lab.evals.cache import CacheKey, WinRateCache
from routing_lab.evals.curves import full_curve
from routing_lab.evals.metrics import apgr
from routing_lab.evals.routers import LoadedRouter, load_router
from routing_lab.evals.scoring import Scoring, draw, win_rates
from routing_lab.progress import terminal_progress

from routing_service.config import Config
from routing_service.engine.engine import SCORING_BATCH
from routing_service.errors import DecisionError, Reason, UsageError
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.routers.base import Router, Scores
from routing_service.yaml_sections import Section
from tests.support.progress import no_progress

KEY = CacheKey({"of": "a test"})
PROMPTS = [f"{'word ' * (i % 7)}prompt {i}" for i in range(300)]


class Counting(Router):
    """Scores by length; counts calls and the threads that made them; raises `error` for the prompt `fails_at`."""

    type = "counting"

    def __init__(self, *, concurrency: int = 1, fails_at: str = "", error: BaseException | None = None) -> None:
        super().__init__(models=ROUTELLM_PAIR, revision="1")
        self.concurrency, self.fails_at, self.error = concurrency, fails_at, error or ValueError("told to")
        self.scored: list[str] = []
        self.threads: set[int] = set()
        self.all_in = threading.Barrier(concurrency)

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - its length says all
        if self.concurrency > 1:
            self.threads.add(threading.get_ident())
            self.all_in.wait(30)  # passes only when so many threads are here
        if self.fails_at in texts:
            raise self.error
        self.scored += texts
        return Scores([len(text) / 100 for text in texts], None, [False] * len(texts))


def loaded(router: Router) -> LoadedRouter:
    return LoadedRouter("counting", router, Section("", Path(), "", None), (), ROUTELLM_PAIR, False, router.close)


def how(config: Config, processes: int = 1) -> Scoring:
    return Scoring(config, processes, no_progress)


EXPECTED = np.array([len(prompt) / 100 for prompt in PROMPTS])


def test_rates_are_in_the_prompts_order(config: Config) -> None:
    router = Counting()
    rates, cached = win_rates(loaded(router), PROMPTS, how(config))
    np.testing.assert_allclose(rates, EXPECTED)
    assert cached == 0
    assert sorted(router.scored) == sorted(PROMPTS)


@pytest.mark.parametrize("inline", [False, True])
def test_the_prompt_without_a_score_is_named_by_its_own_number(config: Config, inline: bool) -> None:
    # Among the shortest, so scored after four batches; a quick router scores all of them in one piece.
    router = Counting(fails_at="prompt 14")
    router.inline = inline  # type: ignore[misc] # a class variable, here of this one
    with pytest.raises(UsageError, match=r"^prompt 15, counting each once, has no score: "):
        win_rates(loaded(router), PROMPTS, how(config))


def test_processes_give_the_same_rates(config: Config) -> None:
    router = load_router(config, "static", None, None)
    alone, _ = win_rates(router, PROMPTS, how(config))
    together, _ = win_rates(router, PROMPTS, how(config, 2))
    np.testing.assert_array_equal(alone, together)


def test_few_prompts_of_a_slow_router_are_shared_among_processes() -> None:
    """As MT-Bench's are: a piece of a whole batch would leave all but one process idle."""
    slow, quick = Counting(), Counting()
    quick.inline = True  # type: ignore[misc] # a class variable, here of this one
    assert scoring._piece_size(slow, 72, 2) * 2 * 4 <= 72
    assert scoring._piece_size(slow, 10_000, 2) == scoring._piece_size(slow, 10_000, 1) == SCORING_BATCH
    assert scoring._piece_size(quick, 100_000, 2) == scoring.CHUNK
    assert scoring._piece_size(quick, 72, 2) == SCORING_BATCH


def test_a_router_that_waits_gets_threads_instead(config: Config) -> None:
    router = Counting(concurrency=3)
    prompts = [f"prompt {i}" for i in range(3 * 64 * 4)]
    rates, _ = win_rates(loaded(router), prompts, how(config, 2))
    assert len(router.threads) == 3
    np.testing.assert_allclose(rates, [len(prompt) / 100 for prompt in prompts])


def test_what_is_kept_is_not_scored_again_unless_asked_to(config: Config, tmp_path: Path) -> None:
    kept = (WinRateCache(tmp_path), KEY)
    win_rates(loaded(Counting()), PROMPTS, how(config), kept)
    again = Counting()
    rates, cached = win_rates(loaded(again), PROMPTS, how(config), kept)
    np.testing.assert_allclose(rates, EXPECTED)
    assert (cached, again.scored) == (300, [])
    win_rates(loaded(again), PROMPTS, how(config), kept, fresh=True)
    assert len(again.scored) == 300


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("told to")])
def test_an_interrupted_run_goes_on_where_it_stopped(config: Config, tmp_path: Path, error: BaseException) -> None:
    kept = (WinRateCache(tmp_path), KEY)
    # The shortest prompts come last.
    stopped = Counting(fails_at="prompt 0", error=error)
    with pytest.raises((KeyboardInterrupt, UsageError)):
        win_rates(loaded(stopped), PROMPTS, how(config), kept)
    resumed = Counting()
    rates, cached = win_rates(loaded(resumed), PROMPTS, how(config), kept)
    np.testing.assert_allclose(rates, EXPECTED)
    assert cached == 256
    assert len(resumed.scored) == 300 - 256
    assert not set(resumed.scored) & set(stopped.scored[:256])


def test_a_run_that_is_killed_has_kept_what_it_saved(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs when a process is killed: what counts is what was on disk before."""
    monkeypatch.setattr(scoring, "SAVE_SECONDS", -1)
    cache, seen = WinRateCache(tmp_path), []

    @contextmanager
    def watching(what: str, prompts: int) -> Iterator[Callable[[int], object]]:
        def step(count: int) -> None:
            there = cache.load(KEY, 300)
            seen.append(0 if there is None else int(np.isfinite(there).sum()))

        yield step

    win_rates(loaded(Counting()), PROMPTS, Scoring(config, 1, watching), (cache, KEY))
    assert seen == [0, 0, 64, 128, 192, 256]


def test_a_prompt_without_a_score_is_told_by_its_place_and_never_quoted(config: Config) -> None:
    with pytest.raises(
        UsageError, match=r"prompt 8, counting each once, has no score: The counting router failed"
    ) as caught:
        win_rates(loaded(Counting(fails_at=PROMPTS[7])), PROMPTS, how(config))
    assert PROMPTS[7] not in str(caught.value)


def test_an_embedder_that_is_away_is_told(config: Config) -> None:
    away = DecisionError(Reason.EMBEDDER_UNAVAILABLE, "The endpoint does not answer.")
    with pytest.raises(UsageError, match="has no score: The endpoint does not answer"):
        win_rates(loaded(Counting(fails_at=PROMPTS[7], error=away)), PROMPTS, how(config))


def test_a_failure_in_a_process_is_told_as_one_here(config: Config, nan_character: str) -> None:
    prompts = [*PROMPTS, f"bad {nan_character}"]
    with pytest.raises(UsageError, match=r"prompt 301, counting each once, has no score"):
        win_rates(load_router(config, "static", None, None), prompts, how(config, 2))


def test_chance_is_drawn_anew_in_every_run_and_alike_for_a_seed(config: Config) -> None:
    first = draw(load_router(config, "luck", None, None), PROMPTS, how(config), 3)
    again = draw(load_router(config, "luck", None, None), PROMPTS, how(config), 3)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (3, 300)
    assert len(np.unique(first)) == 900


def test_every_second_run_of_random_mirrors_the_one_before(config: Config) -> None:
    runs = draw(load_router(config, "luck", None, None), PROMPTS, how(config), 2)
    np.testing.assert_array_equal(runs[1], 1 - runs[0])
    strong, weak = np.random.default_rng(0).random((2, 300))
    assert np.mean([apgr(full_curve(run, strong, weak)) for run in runs]) == pytest.approx(0.5, abs=1e-12)


def test_no_bar_is_drawn_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_progress("static", 10) as step:
        step(10)
    assert capsys.readouterr().err == ""
