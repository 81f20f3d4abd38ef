"""Checkpoints with random weights and a tokenizer of invented words, in RouteLLM's layout.

Speed does not depend on the weights, and parity is true for any weights, so they replace real ones where these cannot
be had. A prompt of n words is n tokens long.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

# config.json's sizes, by family and size.
SIZES: dict[str, dict[str, dict[str, int]]] = {
    "xlm-roberta": {
        "tiny": {
            "vocab_size": 200,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
        },
        # https://huggingface.co/FacebookAI/xlm-roberta-base, the base of RouteLLM's bert router.
        "base": {
            "vocab_size": 250_002,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        },
    },
    "llama": {
        "tiny": {
            "vocab_size": 200,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 64,
        },
        "small": {
            "vocab_size": 32_000,
            "hidden_size": 512,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "intermediate_size": 1408,
        },
        # Llama 3.2 1B's.
        "1b": {
            "vocab_size": 128_261,
            "hidden_size": 2048,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "intermediate_size": 8192,
        },
    },
}
# Typed as Any: whether they have types depends on their releases.
torch: Any = import_module("torch")
transformers: Any = import_module("transformers")
transformers.utils.logging.disable_progress_bar()

RATINGS = tuple(f"[[{rating}]]" for rating in range(1, 6))
CLASSIFIER_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
DECODER_SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
# The standard deviation of a weight, times the square root of how many inputs it has.
WEIGHT_SPREAD = 0.8
# The ratings' rows are this much larger than the others, so that the likeliest token is a rating, as after training.
RATING_SCALE = 8.0


def prompt_of(words: int, seed: int = 0, vocabulary: int = 150) -> str:
    """A prompt of that many of the tokenizers' words."""
    picks = torch.randint(0, vocabulary, (words,), generator=torch.Generator().manual_seed(seed))
    return " ".join(f"w{pick}" for pick in picks.tolist())


def write_classifier(folder: Path, size: str = "tiny", *, seed: int = 0, labels: int = 3) -> Path:
    """Write an XLM-RoBERTa sequence classifier for RouteLLM's `bert` router."""
    torch.manual_seed(seed)
    sizes = SIZES["xlm-roberta"][size]
    config = transformers.XLMRobertaConfig(
        **sizes, max_position_embeddings=514, type_vocab_size=1, num_labels=labels, layer_norm_eps=1e-5
    )
    _widen(transformers.XLMRobertaForSequenceClassification(config)).save_pretrained(folder)
    write_tokenizer(
        folder,
        sizes["vocab_size"],
        CLASSIFIER_SPECIALS,
        template="<s> $A </s>",
        max_length=512,
        roles={"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
    )
    return folder


def write_decoder(folder: Path, size: str = "tiny", *, seed: int = 0, rating_scale: float = RATING_SCALE) -> Path:
    """Write a Llama with five rating tokens at the end of its vocabulary, and RouteLLM's two templates."""
    torch.manual_seed(seed)
    sizes = SIZES["llama"][size]
    config = transformers.LlamaConfig(
        **sizes, max_position_embeddings=2048, bos_token_id=0, eos_token_id=1, tie_word_embeddings=False
    )
    model = _widen(transformers.LlamaForCausalLM(config))
    with torch.no_grad():
        model.lm_head.weight[-len(RATINGS) :] *= rating_scale
    model.save_pretrained(folder)
    write_tokenizer(
        folder,
        sizes["vocab_size"],
        DECODER_SPECIALS,
        template="<|begin_of_text|> $A",
        max_length=2048,
        roles={"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "unk_token": "<|eot_id|>"},
        last=RATINGS,
    )
    (folder / "system_ft_v5.txt").write_text("w1 w2 w3 w4\n", encoding="utf-8")
    (folder / "classifier_ft_v5.txt").write_text("w5\n{question}\n\nw6\n", encoding="utf-8")
    return folder


def write_tokenizer(
    folder: Path,
    size: int,
    specials: Sequence[str],
    *,
    template: str,
    max_length: int,
    roles: dict[str, str],
    last: Sequence[str] = (),
) -> None:
    """Write a tokenizer of `size` tokens: the special ones, the words w0, w1, …, and those in `last`."""
    words = [f"w{index}" for index in range(size - len(specials) - len(last))]
    vocabulary = {token: index for index, token in enumerate((*specials, *words, *last))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=roles["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    used = [token for token in specials if token in template]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, vocabulary[token]) for token in used]
    )
    tokenizer.add_special_tokens([*specials, *last])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **roles)
    fast.save_pretrained(folder)


def _widen(model: Any) -> Any:
    """Scale the weights so that different prompts get different scores."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHT_SPREAD / (parameter.std() * parameter.shape[-1] ** 0.5))
    return model
