"""`bert` and `causal_llm` artifacts whose graphs are so small that their win rates can be told in Python. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from routing_service.artifacts.manifest import Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.models import ModelPair

PAIR = ModelPair("big", "small")
MAX_TOKENS = 12
SPECIALS = ("<s>", "</s>", "<unk>", "<pad>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
WORDS = tuple(f"w{number}" for number in range(13))
IDS = {token: number for number, token in enumerate((*SPECIALS, "system", "user", *WORDS))}
PAD_ID = IDS["<pad>"]
# What bert's graph adds for a token; the last is the padding's, which the mask must take away.
WEIGHTS = [((7 * number) % 11 - 5) / 10 for number in range(len(IDS))]
WEIGHTS[PAD_ID] = 9.0

RATINGS = tuple(IDS[f"w{number}"] for number in range(5))
STOP_ID = IDS["<|eot_id|>"]
MAX_NEW_TOKENS = 3
_RATED, _OTHER = RATINGS, IDS["w9"]
# The decoder's next token, by the sum of all ids that it has read and once more the newest, modulo the length.
NEXT = [_OTHER, _RATED[0], _OTHER, _RATED[3], STOP_ID, _OTHER, _RATED[4]]
# What the decoder's graph gives as win rate, by the same.
RATES = [0.11, 0.95, 0.22, 0.3, 0.44, 0.55, 0.08]


def write_bert(
    folder: Path, *, side: str = "right", max_tokens: int = MAX_TOKENS, output: str = "strong_win_rate", **changes: Any
) -> Path:
    """sigmoid of the sum of `WEIGHTS`, each divided by the token's place, counted from 1."""
    node = helper.make_node
    nodes = [
        node("Gather", ["weights", "input_ids"], ["weight"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("CumSum", ["mask", "one"], ["place"]),
        node("Max", ["place", "float_one"], ["divisor"]),
        node("Div", ["weight", "divisor"], ["share"]),
        node("Mul", ["share", "mask"], ["kept"]),
        node("ReduceSum", ["kept", "axes"], ["sum"], keepdims=0),
        node("Sigmoid", ["sum"], [output]),
    ]
    constants = {
        "weights": np.array(WEIGHTS, np.float32),
        "one": np.array(1, np.int64),
        "float_one": np.array(1, np.float32),
        "axes": np.array([1], np.int64),
    }
    ints = [helper.make_tensor_value_info(n, TensorProto.INT64, ["B", "T"]) for n in ("input_ids", "attention_mask")]
    rate = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["B"])
    folder.mkdir(parents=True, exist_ok=True)
    _save_graph(folder, nodes, ints, [rate], constants)
    _tokenizer("<s> $A </s>").save(str(folder / "tokenizer.json"))
    options = {"pad_token_id": PAD_ID, "truncation_side": side, "labels": 3, "strong_label": None, **changes}

    def rate_of(prompt: str) -> float:
        return bert_rate(prompt, side, max_tokens)

    return _write_manifest(folder, "bert", max_tokens, options, rate_of)


def bert_rate(prompt: str, side: str = "right", max_tokens: int = MAX_TOKENS) -> float:
    """What `write_bert`'s graph must give for words."""
    shares = (WEIGHTS[number] / place for place, number in enumerate(bert_ids(prompt, side, max_tokens), 1))
    return 1 / (1 + math.exp(-sum(shares)))


def bert_ids(prompt: str, side: str = "right", max_tokens: int = MAX_TOKENS) -> list[int]:
    """The ids that `bert` must read of words."""
    words = [IDS.get(word, IDS["<unk>"]) for word in prompt.split()]
    kept = words[: max_tokens - 2] if side == "right" else words[-(max_tokens - 2) :]
    return [IDS["<s>"], *kept, IDS["</s>"]]


def write_causal_llm(folder: Path, *, max_tokens: int = 40, **changes: Any) -> Path:
    """Greedy steps by `NEXT` and `RATES`; its cache holds the ids, as keys, and their doubles, as values."""
    node = helper.make_node
    nodes = [
        node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["ids", "cache_axes"], ["key"]),
        node("Mul", ["key", "two"], ["value"]),
        node("Concat", ["past_key_values.0.key", "key"], ["present.0.key"], axis=2),
        node("Concat", ["past_key_values.0.value", "value"], ["present.0.value"], axis=2),
        node("Sub", ["present.0.value", "present.0.key"], ["all"]),
        node("Squeeze", ["all", "cache_axes"], ["read"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Mul", ["read", "mask"], ["seen"]),
        node("ReduceSum", ["seen", "axes"], ["sum_of_ids"], keepdims=0),
        node("Gather", ["seen", "last"], ["newest"], axis=1),
        node("Add", ["sum_of_ids", "newest"], ["float_sum"]),
        node("Cast", ["float_sum"], ["sum"], to=TensorProto.INT64),
        node("Mod", ["sum", "length"], ["place"]),
        node("Gather", ["next", "place"], ["next_token"]),
        node("Gather", ["rates", "place"], ["strong_win_rate"]),
    ]
    constants = {
        "cache_axes": np.array([1, 3], np.int64),
        "two": np.array(2, np.float32),
        "axes": np.array([1], np.int64),
        "last": np.array(-1, np.int64),
        "length": np.array(len(NEXT), np.int64),
        "next": np.array(NEXT, np.int64),
        "rates": np.array(RATES, np.float32),
    }
    info = helper.make_tensor_value_info
    cache = ("past_key_values.0.key", "past_key_values.0.value")
    inputs = [info("input_ids", TensorProto.INT64, ["B", "T"]), info("attention_mask", TensorProto.INT64, ["B", "S"])]
    inputs += [info(name, TensorProto.FLOAT, ["B", 1, "P", 1]) for name in cache]
    outputs = [info("next_token", TensorProto.INT64, ["B"]), info("strong_win_rate", TensorProto.FLOAT, ["B"])]
    outputs += [info(name, TensorProto.FLOAT, ["B", 1, "S", 1]) for name in ("present.0.key", "present.0.value")]
    folder.mkdir(parents=True, exist_ok=True)
    _save_graph(folder, nodes, inputs, outputs, constants)
    _tokenizer("<s> $A").save(str(folder / "tokenizer.json"))
    (folder / "system_ft_v5.txt").write_text("w11\n", encoding="utf-8")
    (folder / "classifier_ft_v5.txt").write_text("w12 {question} w10\n", encoding="utf-8")
    options = {
        "rating_token_ids": list(RATINGS),
        "score_threshold": 4,
        "stop_token_ids": [STOP_ID],
        "max_new_tokens": MAX_NEW_TOKENS,
        "truncation_side": "left",
        **changes,
    }
    return _write_manifest(folder, "causal_llm", max_tokens, options, lambda prompt: causal_llm_rate(prompt)[0])


def causal_llm_rate(prompt: str) -> tuple[float, int]:
    """What `write_causal_llm`'s router must give for words, and how many tokens it must generate for that."""
    ids = causal_llm_ids(prompt)
    for step in range(1, MAX_NEW_TOKENS + 1):
        place = (sum(ids) + ids[-1]) % len(NEXT)
        if NEXT[place] in RATINGS:
            return RATES[place], step
        if NEXT[place] == STOP_ID:
            return 1.0, step
        ids.append(NEXT[place])
    return 1.0, MAX_NEW_TOKENS


def causal_llm_ids(prompt: str) -> list[int]:
    """The ids that `causal_llm` must read of words."""
    begin, end, stop = (IDS[token] for token in ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"))
    words = [IDS.get(word, IDS["<unk>"]) for word in f"w12 {prompt} w10".split()]
    return [IDS["<s>"], begin, IDS["system"], end, IDS["w11"], stop, begin, IDS["user"], end, *words, stop]


def _tokenizer(template: str) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(IDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, IDS[token]) for token in ("<s>", "</s>") if token in template]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


def _save_graph(
    folder: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], constants: dict[str, Any]
) -> None:
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))


def _write_manifest(
    folder: Path, kind: str, max_tokens: int, options: dict[str, Any], rate_of: Callable[[str], float]
) -> Path:
    files = {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
    vectors = tuple(SelfTestVector(prompt, rate_of(prompt)) for prompt in ("w1", "w2 w3"))
    manifest = Manifest(kind, PAIR, max_tokens, files, "Apache-2.0", SelfTest(1e-5, vectors), options=options)
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return folder
