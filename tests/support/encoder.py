"""Small sentence encoders, as sentence-transformers writes them."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def write_encoder(
    folder: Path, *, pooling: str = "mean_tokens", normalize: bool = True, max_tokens: int = 24, **config: Any
) -> Path:
    """A chance BERT of two layers and vectors of 32 numbers; `config` replaces keys of its configuration."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = [*SPECIAL, *characters, *(f"##{c}" for c in characters), "the", "quick", "##ing"]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    wrap: Any = PreTrainedTokenizerFast  # transformers leaves its constructor untyped
    wrap(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(str(folder))
    sizes: dict[str, Any] = {
        "vocab_size": len(tokens),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 40,
        **config,
    }
    torch.manual_seed(11)
    model = BertModel(BertConfig(**sizes))
    for parameter in model.parameters():
        # The usual start is so small that every text gets nearly the same vector, which would prove nothing.
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(folder))
    (folder / "modules.json").write_text(json.dumps(MODULES if normalize else MODULES[:2]))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": name == pooling for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": max_tokens, "do_lower_case": False})
    )
    return folder
