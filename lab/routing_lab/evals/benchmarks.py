"""What a benchmark is: prompts, and what each model scored on them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from routing_lab.data.halves import in_dev_half
from routing_lab.evals.metrics import Float64
from routing_service.errors import UsageError, nearest, unknown_name
from routing_service.models import ModelPair
from routing_service.rows.model_names import find_model

Split = Literal["all", "dev", "audit"]
# Names longer than this in an error are cut: a column's name may be a prompt where a file lacks its header.
MAX_NAME_LENGTH = 80


@dataclass(frozen=True, slots=True)
class BenchmarkData:
    """A benchmark that is ready to route.

    `prompts` are what a router is asked about, in order; one may come more than once. `scores` are, by model, its score
    on each prompt, (prompts,), higher is better, in the unit that `unit` names, and NaN where there is none; then
    `missing` says for that model where the first is missing and why.

    `left_out` is how many prompts of the whole benchmark were left out as contaminated. `sparse` says that a prompt
    may lack a model's score, and is then left out for a pair with that model; otherwise that is an error. `halves` says
    that a prompt belongs to the dev half, which routers may be trained on, or the audit half, by its hash; `held_out`
    that all of it is for reporting only. `files` are the names and SHA-256s of the files it came from, by which
    training data is recognised.
    """

    name: str
    title: str
    unit: str
    prompts: tuple[str, ...]
    scores: Mapping[str, Float64]
    missing: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    sparse: bool = False
    halves: bool = False
    held_out: bool = False
    split: Split = "all"
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ValueError(f"the benchmark {self.name!r} has no prompts")
        for model, scores in self.scores.items():
            if scores.shape != (len(self.prompts),):
                raise ValueError(f"{model!r} has scores of shape {scores.shape} for {len(self.prompts)} prompts")

    @property
    def distinct_prompts(self) -> tuple[str, ...]:
        """Each prompt once, in order of first appearance: what is scored."""
        return tuple(dict.fromkeys(self.prompts))

    @property
    def content_hash(self) -> str:
        """SHA-256, in hexadecimal, of `distinct_prompts`: of all that win rates depend on."""
        return hash_of(self.distinct_prompts)


def hash_of(prompts: Sequence[str]) -> str:
    """SHA-256, in hexadecimal, of the prompts in their order."""
    digest = hashlib.sha256()
    for prompt in prompts:
        text = prompt.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


class Benchmark(ABC):
    """Loads a benchmark.

    A new benchmark is a subclass with `load`, which can be made without arguments, and an entry point in
    `routing_service.benchmarks` whose name `--benchmark` takes. A file of prompts and scores needs no code: see
    `file_benchmark`.
    """

    @abstractmethod
    def load(self, data: Path | None) -> BenchmarkData:
        """Read it. `data` is the folder that `--data` names, None when it names none.

        Raises:
            UsageError: a file is missing or wrong; says which, where and how to mend it.
        """


@dataclass(frozen=True, slots=True)
class PairedBenchmark:
    """A benchmark for one pair: the models as it calls them, and their scores, (prompts,), all finite.

    `data` has the prompts that both models have a score on; `unscored` is how many were left out because one has none.
    """

    data: BenchmarkData
    models: ModelPair
    strong: Float64
    weak: Float64
    unscored: int = 0


def for_pair(data: BenchmarkData, strong: str, weak: str) -> PairedBenchmark:
    """The benchmark for a pair of models. A name need not have its organisation, nor the case: see `find_model`.

    Raises:
        UsageError: a model is not there, which lists those that are; lacks a score; or both are one, or score alike on
            every prompt, so that there is nothing to gain by routing.
    """
    strong_name, weak_name = (_find_model(data, model, side) for model, side in ((strong, "strong"), (weak, "weak")))
    if strong_name == weak_name:
        raise UsageError(f"{data.title}: the strong and the weak model are both {strong_name!r}; name two models")
    scored = np.isfinite(data.scores[strong_name]) & np.isfinite(data.scores[weak_name])
    unscored = int((~scored).sum())
    if data.sparse and unscored:
        if not scored.any():
            raise UsageError(f"{data.title}: no prompt has a score of both {strong_name!r} and {weak_name!r}")
        data = _rows(data, scored)
    elif unscored:
        name = next(name for name in (strong_name, weak_name) if not np.isfinite(data.scores[name]).all())
        where = f"; the first: {data.missing[name]}" if name in data.missing else ""
        raise UsageError(
            f"{data.title}: {unscored} of {len(data.prompts)} prompts lack a score of {name!r}{where}. "
            "Give every prompt a finite number, or leave it out of the benchmark."
        )
    models = ModelPair(strong_name, weak_name)
    pair = PairedBenchmark(data, models, data.scores[strong_name], data.scores[weak_name], unscored)
    if np.array_equal(pair.strong, pair.weak):
        raise UsageError(
            f"{data.title}: {strong_name!r} and {weak_name!r} have the same score on every prompt, so that no choice "
            "between them matters; name another pair with --strong-model and --weak-model"
        )
    return pair


def _find_model(data: BenchmarkData, model: str, side: str) -> str:
    try:
        found = find_model(model, data.scores)
    except UsageError as error:
        raise UsageError(f"{data.title}: {error}, with --{side}-model") from error
    if found is not None:
        return found
    known = [name[:MAX_NAME_LENGTH] for name in data.scores]
    guess = nearest(model, known)
    hint = f" Did you mean {guess!r}?" if guess else ""
    names = ", ".join(map(repr, known)) or "none"
    raise UsageError(
        f"{data.title}: no scores of the {side} model {model!r}.{hint} It has scores of: {names}. "
        f"Name one of them with --{side}-model."
    )


def take_split(data: BenchmarkData, split: Split) -> BenchmarkData:
    """The prompts of one half; of a benchmark that is held out whole, the audit half is all of it.

    Raises:
        UsageError: the benchmark has no such half, or no prompt in it.
    """
    if split == "all":
        return data
    if data.held_out and split == "audit":
        return replace(data, split="audit")
    if not data.halves:
        raise UsageError(f"{data.title} has no {split} half: only MMLU and GSM8K are halved; use --split all for it")
    rows = np.array([in_dev_half(prompt) == (split == "dev") for prompt in data.prompts])
    if not rows.any():
        raise UsageError(f"{data.title}: no prompt is in the {split} half; use --split all")
    return replace(_rows(data, rows), split=split)


def audit_rows(data: BenchmarkData) -> npt.NDArray[np.intp] | None:
    """The rows of the audit half, (rows,), of a benchmark of which there are both halves; None of any other."""
    if not data.halves or data.split != "all":
        return None
    in_audit = np.array([not in_dev_half(prompt) for prompt in data.prompts])
    return np.flatnonzero(in_audit) if in_audit.any() and not in_audit.all() else None


def audit_half(pair: PairedBenchmark, rows: npt.NDArray[np.intp]) -> PairedBenchmark:
    """A pair's benchmark with no more than the rows of its audit half."""
    data = replace(_rows(pair.data, rows), split="audit")
    return replace(pair, data=data, strong=pair.strong[rows], weak=pair.weak[rows])


def _rows(data: BenchmarkData, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> BenchmarkData:
    numbers = np.arange(len(data.prompts))[rows]
    prompts = tuple(data.prompts[number] for number in numbers)
    return replace(data, prompts=prompts, scores={model: values[rows] for model, values in data.scores.items()})


def unknown_benchmark(name: str, known: list[str]) -> UsageError:
    """The error for a `--benchmark` that is neither a known name nor a file."""
    return UsageError(f"--benchmark: {unknown_name('benchmark', name, known)} There is no file of that name either.")
