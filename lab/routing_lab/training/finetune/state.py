"""What an interrupted fine-tuning needs to go on as if nothing had happened.

Beside the `run.json` of every training's work folder (see `work`) there are `checkpoint.safetensors`, with the trained
weights, AdamW's moments, torch's random states and the progress so far, and `best.safetensors`, with the weights of the
lowest validation loss. Each takes its name only once it is whole. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from routing_lab.training.work import CHECKPOINT, STATE, Work
from routing_service.errors import UsageError

BEST = "best.safetensors"
# AdamW's state of a weight, as torch names it.
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_WEIGHT, _RNG = "weight.", "rng."

Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class RunState:
    """How far a fine-tuning is.

    `step` counts updates; `best_step` and `best_loss` are those of the lowest validation loss, `stale` the evaluations
    since; `loss_sum` and `loss_weight` add up the training loss since the last evaluation. `history` has a row for each
    evaluation: step, training loss and validation loss, in nats a prompt.
    """

    step: int = 0
    best_step: int = 0
    best_loss: float | None = None
    stale: int = 0
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    history: list[list[float]] = field(default_factory=list)


class FinetuneWork(Work):
    """The work folder of a fine-tuning, which holds torch's tensors; for its arguments see `Work`."""

    @property
    def resumed(self) -> int:
        """The update from which an interrupted run goes on; 0 for a run that is new."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return 0
        with _sound(path), safe_open(str(path), framework="pt") as file:
            return _progress(file).step

    def save_run(self, model: Any, optimizer: Any, progress: RunState) -> None:
        """Record the state after an update, in place of the one before.

        Raises:
            UsageError: it cannot be written, e.g. the disk is full; the state before is still there.
        """
        tensors = {_WEIGHT + name: value for name, value in trained_weights(model).items()}
        for name, parameter in _trained(model):
            state = optimizer.state.get(parameter, {})
            tensors |= {f"{key}.{name}": state[key].detach().cpu().contiguous() for key in _MOMENTS if key in state}
        tensors[_RNG + "cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors |= {f"{_RNG}cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
        self._write(CHECKPOINT, tensors, progress)

    def load_run(self, model: Any, optimizer: Any) -> RunState | None:
        """Bring model, optimizer and random states to where the run was interrupted; None for a run that is new.

        Raises:
            UsageError: the state is damaged.
        """
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        with _sound(path):
            tensors, progress = _read(path)
            weights = {name: tensor for name, tensor in tensors.items() if name.startswith(_WEIGHT)}
            load_weights(model, {name.removeprefix(_WEIGHT): tensor for name, tensor in weights.items()})
            for name, parameter in _trained(model):
                moments = {key: tensors[f"{key}.{name}"] for key in _MOMENTS if f"{key}.{name}" in tensors}
                if moments:
                    # torch keeps the count of steps on the CPU, wherever the weight is.
                    optimizer.state[parameter] = {
                        key: tensor if key == "step" else tensor.to(parameter.device) for key, tensor in moments.items()
                    }
            torch.set_rng_state(tensors[_RNG + "cpu"])
            cuda = [tensors[name] for name in sorted(tensors) if name.startswith(_RNG + "cuda")]
            if torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(cuda)
            return progress

    def save_best(self, model: Any, progress: RunState) -> None:
        """Record the weights of the lowest validation loss so far.

        Raises:
            UsageError: they cannot be written; those before are still there.
        """
        self._write(BEST, trained_weights(model), progress)

    def load_best(self, model: Any) -> RunState | None:
        """Give the model the best weights, and say how far the run was when it had them; None where there are none.

        Raises:
            UsageError: they are damaged.
        """
        path = self.folder / BEST
        if not path.is_file():
            return None
        with _sound(path):
            weights, progress = _read(path)
            load_weights(model, weights)
            return progress

    def _write(self, name: str, tensors: Tensors, progress: RunState) -> None:
        with self.writing(name) as path:
            # Straight to the file: the state of a large model is too large to be in memory a second time.
            save_file(tensors, str(path), {STATE: json.dumps(asdict(progress))})


def trained_weights(model: Any) -> Tensors:
    """The weights that are trained, by name, on the CPU."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in _trained(model)}


def load_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a model the weights that are trained.

    Raises:
        KeyError: a weight is missing, or there is one that the model does not train.
        RuntimeError: one has another shape.
    """
    trained = dict(_trained(model))
    if other := trained.keys() ^ weights.keys():
        raise KeyError(min(other))
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(weights[name])


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _read(path: Path) -> tuple[Tensors, RunState]:
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return tensors, _progress(file)


def _progress(file: Any) -> RunState:
    return RunState(**json.loads(file.metadata()[STATE]))


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {error}; start the training afresh with --restart") from error
