"""Trains a matrix factorization model: epochs, early stopping, a checkpoint after each epoch, and its temperature."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from routing_lab.progress import Step
from routing_lab.training.mf.model import (
    Adam,
    Battles,
    Float32,
    Parameters,
    cross_entropy,
    gradients,
    logit_differences,
)
from routing_lab.training.mf.request import Recipe
from routing_lab.training.work import Work
from routing_service.errors import UsageError

# Log-odds are divided by the temperature; beyond these it says that the scores say nothing, or are infinitely sure.
MIN_SLOPE, MAX_SLOPE = 1e-3, 1e3
NEWTON_STEPS = 50


@dataclass(slots=True)
class Fit:
    """The parameters of the best epoch, from 1, the validation loss there, in nats, and the loss after each epoch."""

    parameters: Parameters
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[float] = field(default_factory=list)


def fit(
    embeddings: Float32,
    training: Battles,
    validation: Battles,
    models: int,
    recipe: Recipe,
    seed: int,
    work: Work,
    step: Step,
) -> Fit:
    """Train until the validation loss has not fallen for `recipe.patience` epochs.

    The loss that counts is the one at the best temperature: how sure the model is of itself is settled afterwards.

    In each epoch a battle takes part with the probability of its weight, relative to the largest: of equal weights, all
    battles do. Chance is drawn from the seed and the epoch, so that a resumed training is the same training.

    Args:
        embeddings: a row a prompt, (prompts, dimension).
        training: what is learnt from.
        validation: what decides when to stop.
        models: how many models there are.
        recipe: how to train.
        seed: decides every random draw.
        work: keeps a checkpoint after each epoch; where it has one, the training goes on from there.
        step: called after each epoch.

    Raises:
        UsageError: a checkpoint cannot be read or written.
    """
    parameters = Parameters.random(models, recipe.hidden, embeddings.shape[1], np.random.default_rng([seed, 0]))
    adam = Adam(parameters, recipe.learning_rate, recipe.weight_decay)
    fitted = Fit(parameters.copy())
    _restore(work, parameters, adam, fitted)
    for _ in fitted.history:
        step()
    while len(fitted.history) < recipe.epochs and len(fitted.history) - fitted.best_epoch < recipe.patience:
        epoch = len(fitted.history) + 1
        _run_epoch(parameters, adam, embeddings, training, recipe, np.random.default_rng([seed, epoch]))
        logits = logit_differences(parameters.directions(), embeddings, validation)
        loss = cross_entropy(logits * best_slope(logits, validation), validation)
        fitted.history.append(loss)
        if loss < fitted.best_loss:
            fitted.parameters, fitted.best_epoch, fitted.best_loss = parameters.copy(), epoch, loss
        _save(work, parameters, adam, fitted)
        step()
    return fitted


def epochs_done(work: Work) -> int:
    """How many epochs an interrupted training has behind it; 0 for one that is new."""
    saved = work.load()
    return 0 if saved is None else len(saved[1].get("history", ()))


def best_slope(logits: npt.NDArray[np.float64], battles: Battles) -> float:
    """The factor of log-odds, one over the temperature, that makes their cross-entropy lowest.

    Where the log-odds say nothing, or the reverse of what happens, it is `MIN_SLOPE`.
    """
    slope, weights = 1.0, battles.weights / battles.weights.sum()
    for _ in range(NEWTON_STEPS):
        rates = 0.5 * (1 + np.tanh(0.5 * slope * logits))
        gradient = float(weights @ ((rates - battles.outcomes) * logits))
        curvature = float(weights @ (rates * (1 - rates) * logits**2))
        # The loss is convex, but far out so flat that a whole Newton step would leap.
        change = np.clip(gradient / max(curvature, 1e-12), -slope, 0.5 * slope)
        slope = float(np.clip(slope - change, MIN_SLOPE, MAX_SLOPE))
        if abs(change) < 1e-10:
            break
    return slope


def _run_epoch(
    parameters: Parameters,
    adam: Adam,
    embeddings: Float32,
    training: Battles,
    recipe: Recipe,
    rng: np.random.Generator,
) -> None:
    order = np.flatnonzero(rng.random(len(training)) < training.weights / training.weights.max())
    rng.shuffle(order)
    for start in range(0, len(order), recipe.batch_size):
        part = training.take(order[start : start + recipe.batch_size])
        vectors = embeddings[part.prompts]
        noise = rng.standard_normal(vectors.shape, dtype=np.float32)
        vectors = vectors + np.float32(recipe.noise) * noise
        adam.update(parameters, gradients(parameters, vectors, part.a, part.b, part.outcomes))


def _groups(parameters: Parameters, adam: Adam, fitted: Fit) -> dict[str, Parameters]:
    return {"now": parameters, "best": fitted.parameters, "mean": adam.means, "variance": adam.variances}


def _save(work: Work, parameters: Parameters, adam: Adam, fitted: Fit) -> None:
    arrays = {
        f"{group}.{name}": value
        for group, values in _groups(parameters, adam, fitted).items()
        for name, value in values.as_dict().items()
    }
    state = {name: value for name, value in asdict(fitted).items() if name != "parameters"}
    work.save(arrays, {**state, "steps": adam.steps})


def _restore(work: Work, parameters: Parameters, adam: Adam, fitted: Fit) -> None:
    saved = work.load()
    if saved is None:
        return
    arrays, state = saved
    try:
        for group, values in _groups(parameters, adam, fitted).items():
            for name, value in values.as_dict().items():
                value[...] = arrays[f"{group}.{name}"]
        adam.steps = state["steps"]
        fitted.best_epoch, fitted.best_loss, fitted.history = state["best_epoch"], state["best_loss"], state["history"]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{work.folder}: its checkpoint is not this training's: {error}; start afresh with --restart"
        ) from error
