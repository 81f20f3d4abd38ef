"""Low-rank adapters (LoRA, arXiv 2106.09685): a large model is trained through small matrices beside its own.

The adapters are peft's. They are merged into the model's weights before it is saved, so that what is exported and
served has no trace of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

# The adapters' output is scaled by this, whatever their rank: alpha is twice the rank.
SCALE = 2
DROPOUT = 0.05


def add_adapters(model: Any, rank: int, *, adapted: str, trained: Sequence[str] = ()) -> Any:
    """Freeze a model and give it adapters.

    Args:
        model: a transformers model.
        rank: the adapters' rank, at least 1.
        adapted: the first part of the names of the linear layers that get an adapter.
        trained: the first parts of the names of the weights that are trained themselves.

    Returns:
        peft's model around it; `merged` takes it off again.
    """
    from peft import LoraConfig, get_peft_model

    own = [parameter for name, parameter in model.named_parameters() if name.startswith(tuple(trained))]
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    layers = [name for name in linear if name.startswith(adapted)]
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, lora_dropout=DROPOUT, target_modules=layers)
    with warnings.catch_warnings():
        # peft asks transformers for what it has renamed; neither is the caller's to mend.
        warnings.simplefilter("ignore", FutureWarning)
        wrapped: Any = get_peft_model(model, config)
    for parameter in own:
        parameter.requires_grad_(True)
    return wrapped


def merged(wrapped: Any) -> Any:
    """The model that `add_adapters` was given, with the adapters added into its weights."""
    return wrapped.merge_and_unload(safe_merge=True)
