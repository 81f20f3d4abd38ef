"""`causal_llm`: a Llama that rates, from 1 to 5, how well the weak model would do.

`export-onnx causal_llm` makes its artifact. The rule is RouteLLM's: the rating is read at the first of at most six
greedy tokens that is a rating; a prompt without a rating goes to the strong model. One run over the prompt gives the
first token. Each further token costs a run over one token; the keys and values of the earlier ones stay where the
graph runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from routing_service.artifacts.loading import Artifact
from routing_service.artifacts.onnx_runtime import SessionConfig, open_session, session_io
from routing_service.artifacts.settings import read_settings
from routing_service.artifacts.tokenizing import MAX_TOKEN_ID, Side, TruncatingTokenizer, padded
from routing_service.errors import ArtifactError
from routing_service.models import ModelPair
from routing_service.routers.artifact import ArtifactRouter, score_by_length
from routing_service.routers.base import Scores
from routing_service.routers.causal_llm_prompt import PromptTemplate

GRAPH, TOKENIZER = "model.onnx", "tokenizer.json"
SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE = "system_ft_v5.txt", "classifier_ft_v5.txt"
NO_RATING = 1.0
# Each costs a run. RouteLLM tries six.
MAX_NEW_TOKENS = 64
# The prompt runs in pieces of this many tokens: the memory for attention does not grow with the square of its length.
PIECE_TOKENS = 1024
_CUDA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
_NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CausalLLMOptions(SessionConfig):
    """A `causal_llm` router: a language model that rates the prompt.

    Example:
        routers:
          llama: {type: causal_llm, artifact: artifacts/causal_llm, providers: [CUDAExecutionProvider]}
    """

    artifact: Path = field(kw_only=True)
    """The artifact's folder, made by `train causal_llm` or `export-onnx causal_llm`."""


@dataclass(frozen=True, slots=True)
class CausalLLMSettings:
    """The `options` in a `causal_llm` artifact's manifest.

    `rating_token_ids` are the tokens of the ratings 1, 2, …; ratings from `score_threshold` on are for the weak model,
    which the graph has built in; `stop_token_ids` end the answer; `max_new_tokens` is how many tokens may be
    tried; `truncation_side` is the end where long texts are cut.
    """

    rating_token_ids: tuple[int, ...]
    score_threshold: int
    stop_token_ids: tuple[int, ...]
    max_new_tokens: int
    truncation_side: Side

    def __post_init__(self) -> None:
        if not 1 <= self.max_new_tokens <= MAX_NEW_TOKENS:
            raise ValueError(f"max_new_tokens must be from 1 to {MAX_NEW_TOKENS}")
        if not all(0 <= token <= MAX_TOKEN_ID for token in (*self.rating_token_ids, *self.stop_token_ids)):
            raise ValueError(f"rating_token_ids and stop_token_ids must be from 0 to {MAX_TOKEN_ID:,}")
        if not 1 <= self.score_threshold <= len(self.rating_token_ids):
            raise ValueError("score_threshold must be one of the ratings")


class RatingLLM:
    """A graph, its tokenizer and its prompt template.

    Args:
        folder: has the graph, the tokenizer and the two template files.
        max_tokens: how many tokens of the whole text, with the template, are read.
        settings: see there.
        session: how the graph is run.

    Raises:
        ArtifactError: a file is wrong.
    """

    def __init__(self, folder: Path, max_tokens: int, settings: CausalLLMSettings, session: SessionConfig) -> None:
        self.tokenizer = TruncatingTokenizer(folder / TOKENIZER, max_tokens, settings.truncation_side)
        self.template = PromptTemplate.read(folder / SYSTEM_TEMPLATE, folder / CLASSIFIER_TEMPLATE)
        self._settings = settings
        self._session = open_session(folder / GRAPH, session)
        inputs, outputs = session_io(self._session)
        self._past = [name for name in inputs if name.startswith("past_key_values.")]
        self._present = [name.replace("past_key_values", "present", 1) for name in self._past]
        wanted = {"input_ids", "attention_mask", *self._past}, {"next_token", "strong_win_rate", *self._present}
        if not self._past or (set(inputs), set(outputs)) != wanted:
            raise ArtifactError(folder / GRAPH, f"is not a causal_llm graph: it has inputs {sorted(inputs)[:4]} …")
        shape, cache_type = self._session.get_inputs()[-1].shape, inputs[self._past[0]]
        is_cache = len(shape) == 4 and all(isinstance(shape[axis], int) for axis in (1, 3))
        if not is_cache or cache_type not in _NUMPY_TYPES:
            problem = f"is not a causal_llm graph: its cache is {cache_type} of shape {shape}"
            raise ArtifactError(folder / GRAPH, problem)
        _, self._kv_heads, _, self._head_size = shape
        self._cache_type = _NUMPY_TYPES[cache_type]
        # Where the cache stays between steps.
        used = self._session.get_providers()[0]
        options = session.provider_options.get(used, {})
        self._device = ("cuda", int(options.get("device_id", 0))) if used in _CUDA else ("cpu", 0)

    def score(self, texts: Sequence[str]) -> Scores:
        """Score prompts."""
        return score_by_length(texts, lambda text: self.tokenizer.encode(self.template.render(text)), self._rate)

    def _rate(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Win rates of prompts of similar length: greedy tokens until each has a rating or has ended."""
        rates = np.full(len(rows), NO_RATING, np.float32)
        open_rows = np.ones(len(rows), bool)
        # Padding is masked, so any token will do.
        ids, mask = padded(rows, 0, "left")
        cache: list[Any] = self._empty_cache(len(rows))
        for step in range(self._settings.max_new_tokens):
            tokens, read, cache = self._run(ids, mask, cache)
            rated = open_rows & np.isin(tokens, self._settings.rating_token_ids)
            rates[rated] = read[rated]
            open_rows &= ~rated & ~np.isin(tokens, self._settings.stop_token_ids)
            if not open_rows.any() or step + 1 == self._settings.max_new_tokens:
                break
            # Finished rows run on with the others: a step over one token costs the same for all of them.
            ids = tokens[:, np.newaxis]
            mask = np.pad(mask, ((0, 0), (0, 1)), constant_values=1)
        return rates

    def _run(self, ids: Ints, mask: Ints, cache: list[Any]) -> tuple[Ints, npt.NDArray[np.float32], list[Any]]:
        """Run tokens, the newest columns of `mask`. Returns the next token, its win rate, and the longer cache."""
        before = mask.shape[1] - ids.shape[1]
        for start in range(0, ids.shape[1], PIECE_TOKENS):
            piece = ids[:, start : start + PIECE_TOKENS]
            binding = self._session.io_binding()
            binding.bind_cpu_input("input_ids", np.ascontiguousarray(piece))
            seen = np.ascontiguousarray(mask[:, : before + start + piece.shape[1]])
            binding.bind_cpu_input("attention_mask", seen)
            for name, value in zip(self._past, cache, strict=True):
                binding.bind_ortvalue_input(name, value)
            binding.bind_output("next_token")
            binding.bind_output("strong_win_rate")
            for name in self._present:
                binding.bind_output(name, *self._device)
            self._session.run_with_iobinding(binding)
            tokens, rates, *cache = binding.get_outputs()
        return tokens.numpy(), rates.numpy(), cache

    def _empty_cache(self, prompts: int) -> list[Any]:
        shape = (prompts, self._kv_heads, 0, self._head_size)
        empty = ort.OrtValue.ortvalue_from_numpy(np.empty(shape, self._cache_type))
        return [empty] * len(self._past)


class CausalLLMRouter(ArtifactRouter):
    """Serves a `causal_llm` artifact."""

    type: ClassVar[str] = "causal_llm"
    options = CausalLLMOptions

    def load(self, artifact: Artifact, session: SessionConfig) -> None:
        """Open graph, tokenizer and templates."""
        for name in (GRAPH, TOKENIZER, SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE):
            artifact.file(name)
        settings = read_settings(artifact, CausalLLMSettings)
        self._llm = RatingLLM(artifact.folder, artifact.manifest.max_tokens, settings, session)

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair, whatever its names
        """Score prompts."""
        return self._llm.score(texts)
