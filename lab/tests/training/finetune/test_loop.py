"""The loop: what it learns, that interruptions change nothing, and what stops it."""

from __future__ import annotations

import errno
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `finetune` is not installed")
pytest.importorskip("safetensors", reason="the extra `finetune` is not installed")

import torch
from routing_lab.training.finetune import loop as finetune_loop
from routing_lab.training.finetune.batches import Rows
from routing_lab.training.finetune.loop import Objective, evaluate, fit, learning_rate_factor
from routing_lab.training.finetune.request import Recipe
from routing_lab.training.finetune.state import BEST, FinetuneWork, RunState, trained_weights
from routing_lab.training.work import CHECKPOINT
from safetensors.torch import load_file

from routing_service.errors import UsageError

torch.set_num_threads(1)
RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.05)
TOKENS = 30


def make_model(dropout: float = 0.2) -> Any:
    """A bag of token vectors and a linear layer, with dropout so that random states matter."""
    torch.manual_seed(1)
    return torch.nn.ModuleDict(
        {"words": torch.nn.Embedding(TOKENS, 8), "drop": torch.nn.Dropout(dropout), "head": torch.nn.Linear(8, 2)}
    )


def log_probs(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    kept = mask.unsqueeze(-1)
    mean = (model["words"](ids) * kept).sum(1) / kept.sum(1)
    logits: torch.Tensor = model["head"](model["drop"](mean))
    return logits.log_softmax(-1)


OBJECTIVE = Objective(log_probs, 0, "right")


def rows(count: int, seed: int) -> Rows:
    """Token 7 decides the first class."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(8, TOKENS, length).tolist() for length in rng.integers(1, 9, count)]
    labels = np.zeros((count, 2), np.float32)
    for row, words in enumerate(ids):
        words[0] = 7 if row % 2 else words[0]
        labels[row, 1 - row % 2] = 1
    return Rows(ids, labels, np.ones(count, np.float32))


TRAIN, VALIDATION = rows(96, 0), rows(40, 1)


def run(folder: Path, model: Any, recipe: Recipe = RECIPE, **options: Any) -> RunState:
    work = FinetuneWork(folder, {"rows": 96})
    return fit(model, TRAIN, VALIDATION, OBJECTIVE, recipe, work, **{"seed": 4, **options})


class InterruptedTrainingError(Exception):
    pass


def interrupt_at(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    """Stop the process's next run in the middle of its update of that number."""
    step, done = torch.optim.AdamW.step, 0

    def counted(self: Any, *arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == update:
            raise InterruptedTrainingError
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)


def test_the_loss_goes_down_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    model = make_model()
    before = evaluate(model, VALIDATION, OBJECTIVE, RECIPE)
    best = run(tmp_path / "work", model)
    assert best.best_loss is not None
    assert best.best_loss < 0.5 * before
    assert evaluate(model, VALIDATION, OBJECTIVE, RECIPE) == best.best_loss
    assert round(best.best_loss, 6) == min(loss for *_, loss in best.history)
    assert [step for step, *_ in best.history] == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36]


@pytest.mark.parametrize("update", [2, 4, 13, 36])
@pytest.mark.parametrize("every_update", [True, False])
def test_an_interrupted_run_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: int, every_update: bool
) -> None:
    if every_update:
        monkeypatch.setattr(finetune_loop, "SAVE_SECONDS", 0.0)
    whole = make_model()
    expected = run(tmp_path / "whole", whole)
    resumed = make_model()
    with monkeypatch.context() as patch:
        interrupt_at(patch, update)
        with pytest.raises(InterruptedTrainingError):
            run(tmp_path / "resumed", resumed)
    saved = FinetuneWork(tmp_path / "resumed", {"rows": 96}).resumed
    assert saved == (update - 1 if every_update else (update - 1) // 3 * 3)
    torch.manual_seed(99)  # another process has other random states
    resumed = make_model()
    torch.rand(7)
    found = run(tmp_path / "resumed", resumed)
    assert found == expected
    for name, weight in trained_weights(whole).items():
        assert torch.equal(weight, trained_weights(resumed)[name]), name


def test_a_run_stops_when_validation_gets_no_better(tmp_path: Path) -> None:
    recipe = Recipe(epochs=200, batch_size=8, learning_rate=0.5, patience=3)
    best = run(tmp_path / "work", make_model(0.0), recipe)
    last = best.history[-1][0]
    assert last < 200 * 12
    assert last - best.best_step == 3 * 3


def test_a_small_budget_of_tokens_learns_the_same(tmp_path: Path) -> None:
    whole, parts = make_model(0.0), make_model(0.0)
    run(tmp_path / "whole", whole)
    run(tmp_path / "parts", parts, Recipe(epochs=3, batch_size=8, learning_rate=0.05, batch_tokens=9))
    for name, weight in trained_weights(whole).items():
        torch.testing.assert_close(weight, trained_weights(parts)[name], rtol=1e-3, atol=1e-4)


def test_weights_that_are_frozen_stay_and_are_not_kept(tmp_path: Path) -> None:
    model = make_model()
    model["words"].weight.requires_grad_(False)
    before = model["words"].weight.clone()
    run(tmp_path / "work", model)
    assert torch.equal(model["words"].weight, before)
    assert set(load_file(str(tmp_path / "work" / BEST))) == {"head.weight", "head.bias"}


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_best_model(tmp_path: Path) -> None:
    poisoned = make_model()

    def diverges(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found = log_probs(model, ids, mask)
        return found * float("nan") if updates_done() == 10 and model.training else found

    work = FinetuneWork(tmp_path / "work", {"rows": 96})
    counted: list[int] = []

    def updates_done() -> int:
        return len(counted)

    step = torch.optim.AdamW.step

    def counting_step(self: torch.optim.AdamW) -> Any:
        counted.append(1)
        return step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", counting_step)
        with pytest.raises(UsageError, match=r"after update 10: the training has diverged.*update 9") as error:
            fit(poisoned, TRAIN, VALIDATION, Objective(diverges, 0, "right"), RECIPE, work, seed=4)
    assert "--learning-rate (it is 0.05)" in str(error.value)
    assert "--finish" in str(error.value)
    finished = make_model()
    best = run(tmp_path / "work", finished, finish=True)
    assert best.best_step == 9
    assert evaluate(finished, VALIDATION, OBJECTIVE, RECIPE) == best.best_loss


def test_nothing_can_be_finished_before_a_model_was_evaluated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no model yet"):
        run(tmp_path / "work", make_model(), finish=True)


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path / "work", make_model())
    with pytest.raises(UsageError, match="rows differ"):
        FinetuneWork(tmp_path / "work", {"rows": 97})
    fresh = FinetuneWork(tmp_path / "work", {"rows": 97}, restart=True)
    assert fresh.resumed == 0
    assert fresh.load_best(make_model()) is None


@pytest.mark.parametrize("text", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not a tensor in sight"])
def test_a_state_that_is_damaged_is_told(tmp_path: Path, text: bytes) -> None:
    work = FinetuneWork(tmp_path / "work", {"rows": 96})
    (tmp_path / "work" / CHECKPOINT).write_bytes(text)
    with pytest.raises(UsageError, match=r"checkpoint\.safetensors is damaged.*--restart"):
        run(tmp_path / "work", make_model())
    (tmp_path / "work" / BEST).write_bytes(text)
    with pytest.raises(UsageError, match=r"best\.safetensors is damaged"):
        work.load_best(make_model())


def test_a_state_of_another_model_is_told(tmp_path: Path) -> None:
    run(tmp_path / "work", make_model())
    other = make_model()
    other["more"] = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="is damaged"):
        run(tmp_path / "work", other)


def test_a_full_disk_is_told_and_what_was_saved_is_kept(tmp_path: Path) -> None:
    model = make_model()
    state = RunState(step=3)
    optimizer = torch.optim.AdamW(model.parameters())
    work = FinetuneWork(tmp_path / "work", {"rows": 96})
    work.save_run(model, optimizer, state)
    before = (tmp_path / "work" / CHECKPOINT).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # a file that may not grow is a disk that is full
    try:
        with pytest.raises(UsageError, match=r"cannot be written.*Make room.*then repeat the command"):
            work.save_run(model, optimizer, RunState(step=6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "work" / CHECKPOINT).read_bytes() == before
    assert {path.name for path in (tmp_path / "work").iterdir()} == {CHECKPOINT, "lock", "run.json"}


def test_a_disk_that_is_full_by_its_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("routing_lab.training.finetune.state.save_file", full)
    with pytest.raises(UsageError, match="No space left on device"):
        run(tmp_path / "work", make_model())


def test_a_finished_run_leaves_no_work(tmp_path: Path) -> None:
    run(tmp_path / "work", make_model())
    FinetuneWork(tmp_path / "work", {"rows": 96}).discard()
    assert not (tmp_path / "work").exists()


def test_states_are_safetensors_with_json(tmp_path: Path) -> None:
    best = run(tmp_path / "work", make_model())
    header = (tmp_path / "work" / CHECKPOINT).read_bytes()
    length = int.from_bytes(header[:8], "little")
    state = json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["state"])
    assert state["step"] == 36
    assert state["best_step"] == best.best_step


def test_the_rate_rises_and_falls() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert np.argmax(factors) == 10
    assert factors[10] == 1
    assert 0 < factors[0] < 0.1
    assert 0 < factors[-1] < 0.02
    assert np.all(np.diff(factors[:11]) > 0)
    assert np.all(np.diff(factors[10:]) < 0)
    assert learning_rate_factor(0, 1, 0.0) == 1
