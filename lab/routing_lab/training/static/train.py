"""`routing-service train static`: preference data in, a router's artifact folder out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.data.preferences import PreferenceData, check_examples, load_preferences
from routing_lab.data.splits import keep_apart
from routing_lab.progress import Progress, terminal_progress
from routing_lab.training.embeddings import Embeddings, load_embeddings
from routing_lab.training.report import (
    QUANTILE_LEVELS,
    Float64,
    apgr_intervals,
    benchmark_metrics,
    traffic_quantiles,
)
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_lab.training.static import model as static_model
from routing_lab.training.static.features import features, graph_columns, piece_classes
from routing_lab.training.static.graph import build_graph
from routing_lab.training.static.report import StaticReport
from routing_lab.training.static.request import StaticRequest
from routing_lab.training.static.trees import tree_attributes
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.writing import new_artifact
from routing_service.routers.static import PAD_ID, StaticRouter
from routing_service.routers.static_text import StaticTextEncoder, pad_ids

MAX_TOKENS = 512
LICENSE = "Apache-2.0 AND MIT"
SELF_TEST_TOLERANCE = 1e-4
MODEL_NAME, TOKENIZER_NAME = "model.onnx", "tokenizer.json"


def train(request: StaticRequest, *, progress: Progress = terminal_progress) -> StaticReport:
    """Train a `static` router and write its artifact, replacing what is there only once the new one is complete.

    Args:
        request: what to do.
        progress: makes the bar that shows how far the work is; the default shows one on a terminal only.

    Raises:
        UsageError: the data, the embeddings or the output folder are not usable; the message says how to mend it.
    """
    request.check()
    pair = request.sides.pair
    preferences = load_preferences(request.data, *request.sides)
    split = keep_apart(preferences.examples, request.report_on, request.overlap, preferences.files)
    examples = split.rows
    check_examples(examples, preferences.files, pair)
    source = load_embeddings(request.embeddings)
    with new_artifact(request.output, StaticRouter) as draft:
        folder = draft.folder
        (folder / TOKENIZER_NAME).write_bytes(source.tokenizer)
        encoder = StaticTextEncoder(folder / TOKENIZER_NAME, MAX_TOKENS)
        metrics, calibration, scores = _fit_into(folder, examples, source, encoder, request.seed, progress)
        manifest = draft.write_manifest(
            Manifest(
                type="static",
                models=pair,
                max_tokens=MAX_TOKENS,
                files={name: file_entry(folder / name) for name in (MODEL_NAME, TOKENIZER_NAME)},
                license=LICENSE,
                self_test=_self_test(folder, encoder),
                calibration=calibration,
                provenance={
                    "command": request.command(embeddings=None),
                    **_provenance(preferences, source, request.seed),
                    **split.provenance(),
                },
                metrics=metrics,
            )
        )
    # Not in the manifest: the artifact that ships, which holds no benchmark's intervals, must come out as it is.
    targets = np.array([example.target for example in examples])
    intervals = apgr_intervals([example.source for example in examples], targets, scores, request.seed)
    return StaticReport(request.output, manifest.revision, len(examples), manifest.metrics, intervals, split.benchmarks)


def _fit_into(
    folder: Path,
    examples: Sequence[Example],
    source: Embeddings,
    encoder: StaticTextEncoder,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], CalibrationTable, Float64]:
    prompts = list(dict.fromkeys(example.prompt for example in examples))
    encoded = encoder.encode_batch(prompts)
    ids = [text.ids for text in encoded]
    table = static_model.component_table(source.vectors, ids, piece_classes(source.vocabulary))
    inputs = features(static_model.token_sums(table, ids), np.stack([text.byte_counts for text in encoded]))

    position = {prompt: row for row, prompt in enumerate(prompts)}
    rows = np.array([position[example.prompt] for example in examples])
    training_set = static_model.TrainingSet(
        inputs[rows],
        np.array([example.target for example in examples]),
        np.array([example.weight for example in examples]),
        static_model.assign_folds(prompts, seed)[rows],
    )
    with progress("training", static_model.FOLDS + 1) as step:
        scores = static_model.cross_validate(training_set, seed, step)
        calibrator = static_model.calibrate(scores, examples)
        booster = static_model.fit(training_set, seed)
        step()
    columns = graph_columns(table.shape[1])
    trees = tree_attributes(booster.dump_model(), calibrator.slope, calibrator.intercept, columns)
    (folder / MODEL_NAME).write_bytes(build_graph(table, trees))

    win_rates = calibrator(scores)
    quantiles, mixture, sample_size = traffic_quantiles(examples, win_rates)
    metrics = {
        "note": "by cross-validation: each prompt scored by trees that saw neither it nor a near-duplicate",
        "folds": static_model.FOLDS,
        "platt": {"slope": round(calibrator.slope, 6), "intercept": round(calibrator.intercept, 6)},
        "by_source": benchmark_metrics(examples, win_rates, training_set.folds),
    }
    text = f"out-of-fold scores at {QUANTILE_LEVELS} evenly spaced levels of a mixture of training prompts: {mixture}"
    return metrics, CalibrationTable(text, sample_size, quantiles), win_rates


def score(model: Path, encoder: StaticTextEncoder, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Strong win rates of `prompts` in one batch, from a graph on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    encoded = encoder.encode_batch(prompts)
    inputs = {
        "token_ids": pad_ids(encoded, PAD_ID),
        "byte_counts": np.stack([text.byte_counts for text in encoded]).astype(np.int64),
    }
    return np.asarray(session.run(["strong_win_rate"], inputs)[0], np.float32)


def _self_test(folder: Path, encoder: StaticTextEncoder) -> SelfTest:
    rates = score(folder / MODEL_NAME, encoder, SELF_TEST_PROMPTS)
    vectors = zip(SELF_TEST_PROMPTS, rates, strict=True)
    return SelfTest(SELF_TEST_TOLERANCE, tuple(SelfTestVector(prompt, round(float(p), 6)) for prompt, p in vectors))


def _provenance(preferences: PreferenceData, source: Embeddings, seed: int) -> dict[str, Any]:
    packages = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn", "tokenizers")
    return {
        "seed": seed,
        "data": [file.record() for file in preferences.files],
        "embeddings": source.provenance,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
    }
