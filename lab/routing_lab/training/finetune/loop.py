"""Fine-tuning, in one readable loop: AdamW on the cross-entropy to soft labels, the best model by validation loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from routing_lab.training.finetune.batches import Rows, epoch_batches, micro_batches
from routing_lab.training.finetune.request import EVALUATIONS_PER_EPOCH, Recipe
from routing_lab.training.finetune.state import FinetuneWork, RunState
from routing_service.artifacts.tokenizing import Side, padded
from routing_service.errors import UsageError

# The state is saved at each evaluation, and when so many seconds have passed.
SAVE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Objective:
    """What a model is asked, and how its rows are padded.

    `log_probs(model, ids, mask)` gives the log-probabilities of the classes, (rows, classes), from int64 `ids` and
    `mask`, both (rows, tokens).
    """

    log_probs: Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]
    pad_id: int
    pad_side: Side


def fit(
    model: Any,
    train: Rows,
    validation: Rows,
    objective: Objective,
    recipe: Recipe,
    work: FinetuneWork,
    *,
    seed: int,
    finish: bool = False,
) -> RunState:
    """Train a model in place and leave it with its best weights.

    A run whose state is in `work` goes on from there; on a CPU with the same number of threads it ends with the very
    weights of a run that was never interrupted. `seed` decides the order of the rows and what dropout drops; with
    `finish` the run ends where it is, with the best weights so far.

    Returns:
        The progress when it had its best weights, with the history of the whole run.

    Raises:
        UsageError: the loss is not finite any more, or a state cannot be written or read.
    """
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.peak_learning_rate)
    torch.manual_seed(seed)
    progress = work.load_run(model, optimizer) or RunState()
    per_epoch = math.ceil(len(train) / recipe.batch_size)
    total = per_epoch * recipe.epochs
    evaluated = {math.ceil(per_epoch * part / EVALUATIONS_PER_EPOCH) for part in range(1, EVALUATIONS_PER_EPOCH + 1)}
    epoch, batches = -1, list[list[int]]()
    saved = time.monotonic()
    with _bar(total, progress.step) as bar:
        while not finish and progress.step < total and progress.stale < recipe.patience:
            now, at = divmod(progress.step, per_epoch)
            if now != epoch:
                epoch, batches = now, epoch_batches(train.lengths, recipe.batch_size, seed, now)
            for group in optimizer.param_groups:
                group["lr"] = recipe.peak_learning_rate * learning_rate_factor(
                    progress.step, total, recipe.warmup_share
                )
            loss, weight = _update(model, optimizer, train, batches[at], objective, recipe)
            if not math.isfinite(loss):
                raise _diverged(progress, recipe, work)
            progress.step += 1
            progress.loss_sum += loss
            progress.loss_weight += weight
            bar.update()
            if at + 1 in evaluated:
                validation_loss = evaluate(model, validation, objective, recipe)
                if not math.isfinite(validation_loss):
                    raise _diverged(progress, recipe, work)
                _evaluated(model, validation_loss, progress, work)
                bar.set_postfix(loss=f"{progress.history[-1][1]:.4f}", validation=f"{progress.history[-1][2]:.4f}")
            if at + 1 in evaluated or time.monotonic() - saved >= SAVE_SECONDS:
                work.save_run(model, optimizer, progress)
                saved = time.monotonic()
    best = work.load_best(model)
    if best is None:
        raise UsageError(f"{work.folder}: holds no model yet that could be finished; start without --finish")
    best.history = progress.history
    return best


def evaluate(model: Any, rows: Rows, objective: Objective, recipe: Recipe) -> float:
    """The weighted mean cross-entropy of rows, in nats a row."""
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for part in micro_batches(range(len(rows)), rows.lengths, recipe.batch_tokens):
            total += float(_losses(model, rows, part, objective).sum())
    return total / float(rows.weights.sum(dtype=np.float64))


def learning_rate_factor(step: int, total: int, warmup_share: float) -> float:
    """What the learning rate is multiplied with at an update: up from 0 to 1 over the warm-up, down to 0 at the end."""
    warmup = math.ceil(total * warmup_share)
    return (step + 1) / (warmup + 1) if step < warmup else (total - step) / max(total - warmup, 1)


def device_of(model: Any) -> torch.device:
    """Where a model's weights are."""
    return torch.device(next(model.parameters()).device)


def mixed_precision(device: torch.device) -> Any:
    """A context in which a GPU multiplies in bfloat16; on a CPU everything stays float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _update(
    model: Any, optimizer: Any, rows: Rows, batch: Sequence[int], objective: Objective, recipe: Recipe
) -> tuple[float, float]:
    """One step of the optimizer: the batch's loss, NaN where it is no longer finite, and the weight of its rows."""
    model.train()
    weight = float(rows.weights[list(batch)].sum(dtype=np.float64))
    total = 0.0
    for part in micro_batches(batch, rows.lengths, recipe.batch_tokens):
        loss: Any = _losses(model, rows, part, objective).sum()
        (loss / weight).backward()
        total += float(loss.detach())
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(trained, recipe.max_grad_norm))
    if not math.isfinite(total) or not math.isfinite(norm):
        return float("nan"), weight
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total, weight


def _losses(model: Any, rows: Rows, part: Sequence[int], objective: Objective) -> torch.Tensor:
    """The weighted cross-entropy of each row of a part, (rows,)."""
    device = device_of(model)
    ids, mask = padded([rows.ids[row] for row in part], objective.pad_id, objective.pad_side)
    labels, weights = (torch.from_numpy(values[list(part)]).to(device) for values in (rows.soft_labels, rows.weights))
    with mixed_precision(device):
        log_probs = objective.log_probs(model, torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
    # A class of probability 0 adds nothing, even where its log-probability is minus infinity.
    return -(torch.where(labels > 0, log_probs.float(), 0.0) * labels).sum(-1) * weights


def _evaluated(model: Any, loss: float, progress: RunState, work: FinetuneWork) -> None:
    training_loss = progress.loss_sum / progress.loss_weight
    progress.history.append([progress.step, round(training_loss, 6), round(loss, 6)])
    progress.loss_sum = progress.loss_weight = 0.0
    progress.stale += 1
    if progress.best_loss is None or loss < progress.best_loss:
        progress.best_step, progress.best_loss, progress.stale = progress.step, loss, 0
        work.save_best(model, progress)


def _groups(model: Any, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms and the like, which have one dimension, do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.dim() > 1], "weight_decay": decay},
        {"params": [parameter for parameter in trained if parameter.dim() <= 1], "weight_decay": 0.0},
    ]


def _diverged(progress: RunState, recipe: Recipe, work: FinetuneWork) -> UsageError:
    kept = (
        f"the best model so far, of update {progress.best_step}, is kept in {work.folder}: --finish makes the artifact "
        "of it"
        if progress.best_step
        else "no model was evaluated before"
    )
    return UsageError(
        f"the loss is not a finite number after update {progress.step}: the training has diverged; {kept}. Try again "
        f"with a lower --learning-rate (it is {recipe.peak_learning_rate:g}) and --restart"
    )


def _bar(total: int, done: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, desc="fine-tuning", unit=" updates", disable=None)
