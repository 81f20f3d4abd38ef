"""Loading a checkpoint's model to train it, and where and how it is kept in memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from export_onnx.checkpoint import Checkpoint
from routing_service.errors import UsageError


def load_pretrained(kind: Any, base: Checkpoint, *, may_be_new: Sequence[str] = (), **options: Any) -> Any:
    """A checkpoint's model in float32, on the CPU, as the transformers class `kind` (one of its AutoModels) loads it.

    Args:
        kind: the class.
        base: the checkpoint.
        may_be_new: the first parts of the names of weights that the checkpoint may lack or have in another shape.
        options: for `from_pretrained`.

    Raises:
        UsageError: transformers cannot load it, or it lacks other weights.
    """
    transformers: Any = import_module("transformers.utils.logging")
    transformers.disable_progress_bar()
    # It warns of new heads, which are wanted here, and of every layer that is quantized or frozen.
    transformers.set_verbosity_error()
    logging.getLogger("peft").setLevel(logging.ERROR)
    try:
        model, info = kind.from_pretrained(
            str(base.folder),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{base.folder}: transformers cannot load the model: {error}") from error
    lacking = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    if others := sorted(name for name in lacking if not name.startswith(tuple(may_be_new))):
        raise UsageError(
            f"{base.folder}: lacks {len(others)} of the model's weights, e.g. {others[0]}; give the checkpoint that "
            "belongs to its config.json"
        )
    return model


def enable_gradient_checkpointing(model: Any) -> None:
    """Make a model compute its activations a second time on the way back, rather than keep them."""
    # transformers 5 has renamed it, and warns of the older name.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def move_to_device(model: Any) -> None:
    """Move a model to the GPU if there is one, there with the weights that are not trained in bfloat16."""
    if not torch.cuda.is_available():
        return
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    model.to("cuda")
