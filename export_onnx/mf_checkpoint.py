"""RouteLLM's matrix factorization checkpoint: its tensors, its model ids, and the win rates that it gives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export_onnx.checkpoint import Checkpoint
from routing_service.errors import UsageError

MODEL_VECTORS, PROJECTION, CLASSIFIER = "P.weight", "text_proj.0.weight", "classifier.0.weight"

Float32 = npt.NDArray[np.float32]

# Row i of RouteLLM's `P.weight` belongs to the i-th of these: the order is a fact of the format
# (`routellm/routers/matrix_factorization/model.py`, `MODEL_IDS`).
ROUTELLM_MODEL_IDS = (
    "RWKV-4-Raven-14B",
    "alpaca-13b",
    "chatglm-6b",
    "chatglm2-6b",
    "chatglm3-6b",
    "claude-1",
    "claude-2.0",
    "claude-2.1",
    "claude-instant-1",
    "codellama-34b-instruct",
    "deepseek-llm-67b-chat",
    "dolly-v2-12b",
    "dolphin-2.2.1-mistral-7b",
    "falcon-180b-chat",
    "fastchat-t5-3b",
    "gemini-pro",
    "gemini-pro-dev-api",
    "gpt-3.5-turbo-0125",
    "gpt-3.5-turbo-0314",
    "gpt-3.5-turbo-0613",
    "gpt-3.5-turbo-1106",
    "gpt-4-0125-preview",
    "gpt-4-0314",
    "gpt-4-0613",
    "gpt-4-1106-preview",
    "gpt4all-13b-snoozy",
    "guanaco-33b",
    "koala-13b",
    "llama-13b",
    "llama-2-13b-chat",
    "llama-2-70b-chat",
    "llama-2-7b-chat",
    "llama2-70b-steerlm-chat",
    "mistral-7b-instruct",
    "mistral-7b-instruct-v0.2",
    "mistral-medium",
    "mixtral-8x7b-instruct-v0.1",
    "mpt-30b-chat",
    "mpt-7b-chat",
    "nous-hermes-2-mixtral-8x7b-dpo",
    "oasst-pythia-12b",
    "openchat-3.5",
    "openchat-3.5-0106",
    "openhermes-2.5-mistral-7b",
    "palm-2",
    "pplx-70b-online",
    "pplx-7b-online",
    "qwen-14b-chat",
    "qwen1.5-4b-chat",
    "qwen1.5-72b-chat",
    "qwen1.5-7b-chat",
    "solar-10.7b-instruct-v1.0",
    "stablelm-tuned-alpha-7b",
    "starling-lm-7b-alpha",
    "stripedhyena-nous-7b",
    "tulu-2-dpo-70b",
    "vicuna-13b",
    "vicuna-33b",
    "vicuna-7b",
    "wizardlm-13b",
    "wizardlm-70b",
    "yi-34b-chat",
    "zephyr-7b-alpha",
    "zephyr-7b-beta",
)


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint's tensors.

    `models` is of shape (models, hidden), its rows normalised; `projection` (hidden, dimension), None where the
    embedding is used as it is; `classifier` (hidden,).
    """

    models: Float32
    projection: Float32 | None
    classifier: Float32

    @property
    def dimension(self) -> int:
        """The length of a prompt's embedding."""
        return int((self.models if self.projection is None else self.projection).shape[1])

    def win_rates(self, vectors: Float32, strong: int, weak: int) -> Float32:
        """What the source model gives, step by step as it computes it, for vectors of shape (prompts, dimension)."""
        projected = vectors if self.projection is None else vectors @ self.projection.T
        strong_logits, weak_logits = ((projected * self.models[row]) @ self.classifier for row in (strong, weak))
        with np.errstate(over="ignore"):  # exp may become infinite, and the rate then 0
            rates: Float32 = 1 / (1 + np.exp(weak_logits - strong_logits))
        return rates

    def directions(self) -> Float32:
        """A vector a model, of shape (models, dimension), whose dot product with an embedding is the model's logit."""
        weighted = self.models.astype(np.float64) * self.classifier
        return (weighted if self.projection is None else weighted @ self.projection).astype(np.float32)


def read_weights(checkpoint: Checkpoint) -> Weights:
    """Check a checkpoint's tensors against its config.json and load them.

    Raises:
        UsageError: config.json or the tensors are wrong.
    """
    config = checkpoint.config
    sizes = {}
    for key in ("dim", "num_models", "text_dim"):
        value = config.get(key)
        if type(value) is not int or value < 1:
            raise UsageError(
                f"{checkpoint.folder}: config.json needs {key!r}, a positive integer; is this an mf checkpoint?"
            )
        sizes[key] = value
    if config.get("num_classes", 1) != 1:
        raise UsageError(
            f"{checkpoint.folder}: config.json has num_classes {config['num_classes']!r}; mf has one logit"
        )
    projected = config.get("use_proj", True)
    if type(projected) is not bool or (not projected and sizes["text_dim"] != sizes["dim"]):
        raise UsageError(
            f"{checkpoint.folder}: config.json has use_proj {projected!r}; it must be true, or false with equal sizes"
        )
    expected = {MODEL_VECTORS: (sizes["num_models"], sizes["dim"]), CLASSIFIER: (1, sizes["dim"])}
    if projected:
        expected[PROJECTION] = (sizes["dim"], sizes["text_dim"])
    checkpoint.check_tensors(expected)
    vectors = checkpoint.load(MODEL_VECTORS)
    # torch.nn.functional.normalize divides by the norm, or by this where that is smaller.
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return Weights(vectors, checkpoint.load(PROJECTION) if projected else None, checkpoint.load(CLASSIFIER)[0])


def model_ids(checkpoint: Checkpoint, file: Path | None, rows: int) -> list[str]:
    """The ids of the checkpoint's models, in the order of their rows.

    Raises:
        UsageError: none are known for a table of this size, or they are no list of so many different names.
    """
    where, found = f"{checkpoint.folder}: `model_ids` of config.json", checkpoint.config.get("model_ids")
    if file is not None:
        where = f"--models {file}"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{where}: is not readable JSON: {error}") from error
    elif found is None:
        if rows != len(ROUTELLM_MODEL_IDS):
            raise UsageError(
                f"{checkpoint.folder}: has {rows} models, not RouteLLM's {len(ROUTELLM_MODEL_IDS)}; give their ids in "
                "the order of their rows, as a JSON list, with --models"
            )
        found = list(ROUTELLM_MODEL_IDS)
    named = isinstance(found, list) and all(isinstance(name, str) and name for name in found)
    if not named or len(set(found)) != rows or len(found) != rows:
        raise UsageError(f"{where}: must be a list of {rows} different names, one a row of {MODEL_VECTORS}")
    return list(found)
