"""A checkpoint's tokenizer as transformers loads it, and as the `tokenizer.json` that is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export_onnx.checkpoint import Checkpoint
from routing_service.artifacts.tokenizing import SIDES, Side, TruncatingTokenizer
from routing_service.errors import UsageError

# What transformers may make a tokenizer from, for the manifest's provenance.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
# transformers puts this where a tokenizer says no longest length.
_NO_LIMIT = 10**9


class SourceTokenizer:
    """The tokenizer that RouteLLM would load for a checkpoint.

    Args:
        checkpoint: its folder holds the tokenizer's files.
        rows: the rows of the model's embedding, of which every token needs one.

    `side` is the end that a long text loses.

    Raises:
        UsageError: there is no tokenizer, it cannot be a `tokenizer.json`, or it has more tokens than the model.
    """

    def __init__(self, checkpoint: Checkpoint, rows: int) -> None:
        from transformers import AutoTokenizer

        self._folder = checkpoint.folder
        try:
            self.source: Any = AutoTokenizer.from_pretrained(
                str(checkpoint.folder), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # transformers raises many kinds, some of its own and some of its parsers'
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(
                f"{self._folder}: its tokenizer cannot be loaded: {first}; put the model's tokenizer.json there"
            ) from error
        if not self.source.is_fast:
            raise UsageError(
                f"{self._folder}: its tokenizer cannot be turned into a tokenizer.json; save it as a fast one"
            )
        self.side: Side = self._side()
        self.size = 1 + max(self.source.get_vocab().values(), default=-1)
        if self.size > rows:
            raise UsageError(
                f"{self._folder}: the tokenizer has {self.size} tokens but the model's embedding {rows} rows, so it is "
                "another model's tokenizer; put the model's own beside it"
            )

    @property
    def limit(self) -> int | None:
        """The tokenizer's `model_max_length`, None when it says none."""
        limit = int(self.source.model_max_length)
        return limit if limit < _NO_LIMIT else None

    def encode(self, text: str, max_tokens: int, side: Side) -> list[int]:
        """The source's token ids of a text, at most `max_tokens`, special ones included."""
        self.source.truncation_side = side
        return list(self.source(text, truncation=True, max_length=max_tokens)["input_ids"])

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, without truncation or padding, which the server does itself."""
        from tokenizers import Tokenizer

        served = Tokenizer.from_str(self.source.backend_tokenizer.to_str())
        served.no_truncation()
        served.no_padding()
        served.save(str(path), pretty=False)

    def check(self, served: TruncatingTokenizer, texts: Sequence[str]) -> None:
        """Compare the served tokenizer with the source's.

        Raises:
            UsageError: a text's tokens differ.
        """
        for number, text in enumerate(texts):
            if served.encode(text).ids != self.encode(text, served.max_tokens, served.side):
                raise UsageError(
                    f"{self._folder}: the tokenizer.json that was made gives other tokens than transformers for proof "
                    f"prompt {number}; this tokenizer does something that tokenizer.json cannot say"
                )

    def _side(self) -> Side:
        side = self.source.truncation_side
        if side not in SIDES:
            raise UsageError(f"{self._folder}: truncation_side is {side!r}; it must be left or right")
        return "left" if side == "left" else "right"
