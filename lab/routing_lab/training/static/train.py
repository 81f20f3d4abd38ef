"""`routing-service train static`: preference data in, a router's artifact folder out."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.data.preferences import PreferenceData, check_examples, load_preferences
from routing_lab.data.sources import source_of
from routing_lab.data.splits import keep_apart
from routing_lab.progress import Progress, terminal_progress
from routing_lab.training.report import (
    QUANTILE_LEVELS,
    Float64,
    apgr_intervals,
    benchmark_metrics,
    traffic_quantiles,
)
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_lab.training.static import exam as exams
from routing_lab.training.static import model as static_model
from routing_lab.training.static.asks import EXAMS, AskHeads, closed
from routing_lab.training.static.augment import paraphrase
from routing_lab.training.static.features import FEATURE_NAMES, Float32, features
from routing_lab.training.static.graph import build_graph
from routing_lab.training.static.heads import Head, Heads, fuse, understood
from routing_lab.training.static.networks import Network
from routing_lab.training.static.new_table import make_table
from routing_lab.training.static.report import StaticReport
from routing_lab.training.static.request import StaticRequest
from routing_lab.training.static.table import MAX_PIECES, MODEL_NAME, SCALE, StaticTable, read_table
from routing_lab.training.static.topic_data import TopicData, load_topics
from routing_lab.training.static.topics import TOPIC_LOG_ODDS, TOPICS
from routing_lab.training.static.translations import read_catalogues
from routing_lab.training.static.wheels import catalogue_wheels
from routing_service.artifacts.loading import DEFAULT_ARTIFACT
from routing_service.artifacts.manifest import CalibrationTable, Manifest, SelfTest, SelfTestVector, file_entry
from routing_service.artifacts.writing import new_artifact
from routing_service.routers.static import PIECES_NAME, StaticRouter, prompt_inputs
from routing_service.routers.static_pieces import EXTRA_COUNTS, StaticPieceEncoder

LICENSE = "Apache-2.0 AND MIT"
SELF_TEST_TOLERANCE = 1e-4
# What the source offsets leave to a network is for these; any other prompt's score comes from its topic.
ALWAYS, NEVER = 30.0, -30.0
# The share of prompts of which a paraphrase is learnt from too.
PARAPHRASED = 0.35
CHAT = "arena-hard-v0.1"
# Exams without outcomes for the pair: the exam head learns from them what the trees would say.
EXAM_LIKE = frozenset({"mmlu_pro", "zeroeval_math-l5", "fasteval"})
# Users' asks without outcomes, which belong to the mixture that the calibration quantiles are of.
CHAT_TRAFFIC = frozenset({"halueval_general", "rubriceval_wildbench392"})


class Reader:
    """Features of texts, from a table."""

    def __init__(self, table: StaticTable) -> None:
        self.table = table
        self.encoder = StaticPieceEncoder(table.vocabulary, MAX_PIECES)

    def __call__(self, texts: Sequence[str]) -> Float32:
        """Features, (texts, features)."""
        return self.read(texts)[0]

    def read(self, texts: Sequence[str]) -> tuple[Float32, Float32]:
        """Features, and how much was understood of each text, (texts,) from 0 to 1."""
        encoded = [self.encoder.encode(text) for text in texts]
        sums = self.table.sums([text.ids for text in encoded])
        counts = np.array([text.counts for text in encoded], np.int64).reshape(len(texts), 256 + EXTRA_COUNTS)
        weights = sums[:, self.table.components].astype(np.float32) / np.float32(SCALE)
        looked = features(sums, counts, self.table.components)
        return looked, understood(looked, weights, self.table.components)


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
    topics = load_topics(request.topics) if request.topics else None
    catalogues = read_catalogues(catalogue_wheels(request.wheels)) if request.wheels else {}
    prompts = list(dict.fromkeys(example.prompt for example in examples))
    if request.wheels:
        more = [row.prompt for row in topics.rows] if topics else []
        table, origin = make_table(request.wheels, examples, more, catalogues, request.seed, progress)
    else:
        table, origin = read_table(request.table or DEFAULT_ARTIFACT)
    with new_artifact(request.output, StaticRouter) as draft:
        folder = draft.folder
        (folder / PIECES_NAME).write_bytes(table.pieces_file())
        fitted = _Fitted(examples, prompts, Reader(table), topics, catalogues, request.seed, progress)
        (folder / MODEL_NAME).write_bytes(build_graph(table, fitted.heads))
        metrics, calibration, scores = fitted.outcome()
        manifest = draft.write_manifest(
            Manifest(
                type="static",
                models=pair,
                max_tokens=MAX_PIECES,
                files={name: file_entry(folder / name) for name in (MODEL_NAME, PIECES_NAME)},
                license=LICENSE,
                self_test=_self_test(folder, fitted.reader.encoder),
                calibration=calibration,
                options={"topics": {topic: TOPIC_LOG_ODDS[topic] for topic in TOPICS}} if topics else {},
                provenance={
                    "command": request.command(topics=None, table=None, wheels=None),
                    **_provenance(preferences, topics, origin, request.seed),
                    **split.provenance(),
                },
                metrics=metrics,
            )
        )
    # Not in the manifest: the artifact that ships, which holds no benchmark's intervals, must come out as it is.
    targets = np.array([example.target for example in examples])
    intervals = apgr_intervals([example.source for example in examples], targets, scores, request.seed)
    return StaticReport(request.output, manifest.revision, len(examples), manifest.metrics, intervals, split.benchmarks)


class _Fitted:
    """The heads, fitted and cross-validated."""

    def __init__(
        self,
        examples: Sequence[Example],
        prompts: Sequence[str],
        reader: Reader,
        topics: TopicData | None,
        catalogues: Mapping[str, Mapping[str, str]],
        seed: int,
        progress: Progress,
    ) -> None:
        self.examples, self.reader, self._topics = examples, reader, topics
        inputs, shares = reader.read(prompts)
        position = {prompt: row for row, prompt in enumerate(prompts)}
        rows = np.array([position[example.prompt] for example in examples])
        self._features, self._understood = inputs[rows], shares[rows]
        rng = np.random.default_rng(seed)
        copied = rng.random(len(prompts)) < PARAPHRASED
        copies = np.zeros_like(inputs)
        copies[copied] = reader([paraphrase(prompts[i], rng) for i in map(int, np.flatnonzero(copied))])
        self._copies, self._copied = copies[rows], copied[rows]
        self.folds = static_model.assign_folds(prompts, seed)[rows]
        unlabelled = reader([row.prompt for row in topics.rows]) if topics else inputs[:0]
        standard = exams.Standard.of(np.concatenate([inputs, unlabelled]))
        data, learnt = self._exam_data()
        similar = unlabelled[[row.source in EXAM_LIKE for row in topics.rows]] if topics else unlabelled
        with progress("training", static_model.FOLDS + 2) as step:
            self.log_odds = np.zeros(len(examples))
            self.log_odds[learnt] = exams.cross_validate(data, similar, standard, seed, step)
            exam = exams.fit_exam(data, similar, standard, seed)
            self.log_odds[~learnt] = exam(standard(self._features[~learnt]))[:, 0]
            step()
            chosen = self._calibrates()
            self.calibrator = static_model.calibrate(
                self.log_odds[chosen], [e for e, keep in zip(examples, chosen, strict=True) if keep]
            )
            self.heads = self._heads(exam, standard, catalogues, seed)
            step()

    def _exam_data(self) -> tuple[exams.ExamData, npt.NDArray[np.bool_]]:
        """Rows for the exam head, and which of the examples they are."""
        names = np.array([example.source.split("/", 1)[0] for example in self.examples])
        weights = np.array([example.weight for example in self.examples])
        # With topics, chat is what the topics are for.
        learnt = names != CHAT if self._topics else np.ones(len(names), bool)
        numbers = np.unique(names, return_inverse=True)[1]
        targets = np.array([example.target for example in self.examples])
        data = exams.ExamData(self._features, self._copies, self._copied, targets, weights, self.folds, numbers)
        return data.rows(learnt), learnt

    def _calibrates(self) -> npt.NDArray[np.bool_]:
        """The examples that the exam head's calibration is fitted on: exams if there are topics, else all."""
        if self._topics is None:
            return np.ones(len(self.examples), bool)
        exam = np.isin([example.source.split("/", 1)[0] for example in self.examples], EXAMS)
        return exam if exam.any() else np.ones(len(exam), bool)

    def _heads(
        self, exam: Network, standard: exams.Standard, catalogues: Mapping[str, Mapping[str, str]], seed: int
    ) -> Heads:
        slope, intercept = np.float32(self.calibrator.slope), np.float32(self.calibrator.intercept)
        every = np.arange(len(standard.mean))
        calibrated = Network(exam.w1, exam.b1, exam.w2 * slope, exam.b2 * slope + intercept, exam.skip * slope)
        components = len(standard.mean) - len(FEATURE_NAMES)
        if self._topics is None:
            others = [closed(len(every), size, bias) for size, bias in ((1, ALWAYS), (1, NEVER), (len(TOPICS), 0.0))]
        else:
            asks = AskHeads(self._topics, self.examples, catalogues, self.reader, standard, components, seed)
            topic, trivial = asks.topic(), asks.trivial()
            others = [asks.gate(self._features), trivial, topic]
        return fuse(standard.mean, standard.deviation, Head(calibrated, every), *others)

    def outcome(self) -> tuple[dict[str, Any], CalibrationTable, Float64]:
        """Metrics, the calibration table, and each example's win rate by networks that have not seen its outcome."""
        parts = self.heads.parts(self._features)
        exam = self.calibrator.intercept + self.calibrator.slope * self.log_odds
        win_rates = self.heads.blend({**parts, "exam": exam.astype(np.float32)}, self._understood)
        metrics = {
            "note": "by cross-validation: each prompt scored by an exam head that saw neither it nor a near-duplicate; "
            "topics, triviality and gate never see outcomes",
            "folds": static_model.FOLDS,
            "platt": {"slope": round(self.calibrator.slope, 6), "intercept": round(self.calibrator.intercept, 6)},
            "by_source": benchmark_metrics(self.examples, win_rates, self.folds),
        }
        sample: list[Any] = list(self.examples)
        rates = win_rates
        if self._topics:
            rows = [row for row in self._topics.rows if source_of(row.source).traffic and row.source in CHAT_TRAFFIC]
            sample += rows
            looked, shares = self.reader.read([row.prompt for row in rows])
            rates = np.concatenate([win_rates, self.heads.blend(self.heads.parts(looked), shares)])
        quantiles, mixture, size = traffic_quantiles(sample, rates)
        text = f"out-of-fold scores at {QUANTILE_LEVELS} evenly spaced levels of a mixture of prompts: {mixture}"
        return metrics, CalibrationTable(text, size, quantiles), win_rates


def score(model: Path, encoder: StaticPieceEncoder, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Strong win rates of `prompts`, from a graph on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rates = [session.run(["strong_win_rate"], prompt_inputs(encoder.encode(text)))[0] for text in prompts]
    return np.concatenate(rates).astype(np.float32)


def _self_test(folder: Path, encoder: StaticPieceEncoder) -> SelfTest:
    rates = score(folder / MODEL_NAME, encoder, SELF_TEST_PROMPTS)
    vectors = zip(SELF_TEST_PROMPTS, rates, strict=True)
    return SelfTest(SELF_TEST_TOLERANCE, tuple(SelfTestVector(prompt, round(float(p), 6)) for prompt, p in vectors))


def _provenance(
    preferences: PreferenceData, topics: TopicData | None, table: dict[str, Any], seed: int
) -> dict[str, Any]:
    packages = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn")
    return {
        "seed": seed,
        "data": [file.record() for file in preferences.files],
        **({"topics": list(topics.files)} if topics else {}),
        "table": table,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
    }
