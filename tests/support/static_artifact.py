"""A whole `static` artifact small enough to build in a test, and Hypothesis without clocks or chance."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.models import ModelPair
from routing_service.routers.static_text import StaticTextEncoder

settings.register_profile("unit", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("unit")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "hello",
    "world",
    "the",
    "prove",
    "nai",
    "##ve",
    "ca",
    "##fe",
    "中",
    "文",
    "\u03c3",
    "##\u03c3",
    "i",
    "ß",
    "##ing",
]
PROMPTS = ("hello world", "Prove it, café 中文!", "x")
# A prompt with this character makes the tiny graph return NaN: a router that fails on some prompts only.
NAN_CHARACTER = "\x07"

ArtifactBuilder = Callable[..., Path]


def wordpiece(*, lowercase: bool = True) -> Tokenizer:
    """A BERT word-piece tokenizer that knows every ASCII letter, digit and mark, and some words."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = dict.fromkeys([*SPECIAL, *characters, *(f"##{c}" for c in characters), *WORDS])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def tiny_graph(words: int, *, ids_type: int = TensorProto.INT32, squeeze: bool = True) -> onnx.ModelProto:
    """sigmoid of integer weights of token ids and bytes; NaN where NAN_CHARACTER occurs."""
    rng = np.random.default_rng(7)
    token_weights = rng.integers(-9, 10, words + 1)
    token_weights[-1] = 0  # what the padding id, -1, reads
    poison = np.zeros(256, np.float32)
    poison[ord(NAN_CHARACTER)] = -1.0
    node = helper.make_node
    nodes = [
        node("Gather", ["token_weights", "token_ids"], ["by_token"]),
        node("ReduceSum", ["by_token", "last"], ["token_sum"], keepdims=0),
        node("Mul", ["byte_counts", "byte_weights"], ["by_byte"]),
        node("ReduceSum", ["by_byte", "last"], ["byte_sum"], keepdims=0),
        node("Add", ["token_sum", "byte_sum"], ["sum"]),
        node("Cast", ["sum"], ["float_sum"], to=TensorProto.FLOAT),
        node("Mul", ["float_sum", "scale"], ["logit"]),
        node("Cast", ["byte_counts"], ["float_counts"], to=TensorProto.FLOAT),
        node("MatMul", ["float_counts", "poison"], ["negative"]),
        node("Sqrt", ["negative"], ["nan_or_zero"]),
        node("Add", ["logit", "nan_or_zero"], ["poisoned"]),
        node("Sigmoid", ["poisoned"], ["strong_win_rate" if squeeze else "flat"]),
    ]
    if not squeeze:
        nodes.append(node("Unsqueeze", ["flat", "last"], ["strong_win_rate"]))
    constants: dict[str, npt.NDArray[Any]] = {
        "token_weights": token_weights.astype(np.int64),
        "byte_weights": rng.integers(-3, 4, 256).astype(np.int64),
        "last": np.array([-1], np.int64) if not squeeze else np.array([1], np.int64),
        "scale": np.array(0.03, np.float32),
        "poison": poison,
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("token_ids", ids_type, ["B", "T"]),
            helper.make_tensor_value_info("byte_counts", TensorProto.INT64, ["B", 256]),
        ],
        [helper.make_tensor_value_info("strong_win_rate", TensorProto.FLOAT, ["B"] if squeeze else ["B", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def build(folder: Path, *, graph: onnx.ModelProto | None = None, vectors: Any = None, **fields: Any) -> Path:
    """Write a static artifact; `fields` replace those of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = wordpiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    onnx.save(graph or tiny_graph(tokenizer.get_vocab_size()), str(folder / "model.onnx"))
    max_tokens = fields.get("max_tokens", 64)
    if vectors is None:
        vectors = _vectors(folder, max_tokens)
    manifest = {
        "type": "static",
        "models": ModelPair("big", "small"),
        "max_tokens": max_tokens,
        "files": {name: file_entry(folder / name) for name in ("model.onnx", "tokenizer.json")},
        "license": "Apache-2.0",
        "self_test": SelfTest(1e-5, vectors),
        "calibration": CalibrationTable("a test", 5, (0.1, 0.3, 0.5, 0.7, 0.9)),
    }
    (folder / "manifest.json").write_text(Manifest(**{**manifest, **fields}).to_json(), encoding="utf-8")
    return folder


def _vectors(folder: Path, max_tokens: int) -> tuple[SelfTestVector, ...]:
    encoder = StaticTextEncoder(folder / "tokenizer.json", max_tokens)
    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found = []
    for prompt in PROMPTS:
        text = encoder.encode(prompt)
        inputs = {"token_ids": np.array([text.ids], np.int32), "byte_counts": text.byte_counts[None]}
        found.append(SelfTestVector(prompt, float(session.run(None, inputs)[0][0])))
    return tuple(found)


@pytest.fixture(scope="session")
def build_artifact() -> ArtifactBuilder:
    """Writes a tiny static artifact into a folder: `build_artifact(folder, **manifest_fields)`."""
    return build


@pytest.fixture(scope="session")
def build_graph() -> Callable[..., onnx.ModelProto]:
    """The tiny artifact's graph, or one that differs in what `ids_type` or `squeeze` say."""
    return lambda **options: tiny_graph(wordpiece().get_vocab_size(), **options)


@pytest.fixture(scope="session")
def build_tokenizer() -> Callable[..., Tokenizer]:
    """The tiny artifact's tokenizer, as the `tokenizers` library has it."""
    return wordpiece


@pytest.fixture(scope="session")
def static_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny static artifact that nobody may change."""
    return build(tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="session")
def nan_character() -> str:
    """A prompt with this character gets NaN from the tiny artifact."""
    return NAN_CHARACTER
