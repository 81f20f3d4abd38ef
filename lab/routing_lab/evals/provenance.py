"""Whether a router has learnt from the prompts that it is evaluated on, by what its artifact's manifest says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from routing_lab.data.halves import in_dev_half
from routing_lab.evals.benchmarks import BenchmarkData
from routing_service.artifacts.manifest import Manifest


class Exposure(StrEnum):
    """What a router has seen of a benchmark."""

    UNTRAINED = "untrained"
    OUT_OF_SAMPLE = "out-of-sample"
    IN_SAMPLE = "in-sample"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sample:
    """An `Exposure`, how many of the benchmark's prompts were learnt from (None when not known), and a sentence."""

    exposure: Exposure
    learnt: int | None
    note: str


def sample_of(manifest: Manifest | None, data: BenchmarkData, *, learns: bool = True) -> Sample:
    """What a router has seen of `data`, by its artifact's manifest.

    Args:
        manifest: the artifact's, None for a router without one.
        data: the benchmark, or the half of it that is evaluated.
        learns: False for a router that has no training, such as chance.
    """
    if not learns:
        return Sample(Exposure.UNTRAINED, 0, "has no training")
    provenance = manifest.provenance if manifest is not None else {}
    declared = _mapping(_mapping(provenance.get("benchmarks")).get(data.name))
    if _of_another_version(declared, data):
        return Sample(Exposure.UNKNOWN, None, f"it was checked against another {data.name}: perhaps in-sample")
    if declared.get("overlap") == "allowed":
        # How many of them are in a half of the benchmark is not known.
        learnt = _count(declared.get("prompts")) if data.split == "all" else None
        return _in_sample(data, learnt, "its training was allowed to overlap with this benchmark")
    listed = [entry for entry in provenance.get("data") or () if isinstance(entry, dict)]
    # A file of which every row was left out, as by --drop-overlap, taught nothing.
    files = [entry for entry in listed if _count(entry.get("used")) != 0]
    if any(str(entry.get("name", "")).startswith(f"{data.name}/") for entry in files) and data.halves:
        return _halves(data)
    if declared.get("overlap") in ("none", "dropped"):
        return _unseen("its training was checked against this benchmark's prompts")
    if any(entry.get("sha256") in set(data.files.values()) for entry in files):
        return _in_sample(data, None, "it was trained on this very file")
    names = {name.rpartition("/")[2] for name in data.files}
    if same := sorted(names & {str(entry.get("name", "")).rpartition("/")[2] for entry in files}):
        return Sample(Exposure.UNKNOWN, None, f"it was trained on another version of {same[0]}: perhaps in-sample")
    if listed and (data.halves or data.held_out):
        return _unseen("its manifest lists its training files, and this is none of them")
    if listed:
        # A file made from MMLU is none of them either: only `train --report-on` compares prompts.
        why = "this is none of its training files, yet they may hold the same prompts"
        return Sample(Exposure.UNKNOWN, None, f"{why}: perhaps in-sample")
    return Sample(Exposure.UNKNOWN, None, "its manifest does not say what it was trained on")


def _of_another_version(declared: Mapping[str, Any], data: BenchmarkData) -> bool:
    """Whether a file of the same name, yet with other prompts, was meant.

    Of a part of a benchmark, such as the rows that have a score of both models, that cannot be told.
    """
    checked = _count(declared.get("benchmark_prompts"))
    if data.halves or data.held_out or checked is None or (data.sparse and len(data.prompts) < checked):
        return False
    if len(data.prompts) != checked:
        return True
    digest = hashlib.sha256()
    for prompt in sorted(data.prompts):  # as `training.splits` does
        digest.update(hashlib.sha256(prompt.encode("utf-8", "replace")).digest())
    return bool(declared.get("benchmark_sha256") != digest.hexdigest())


def _unseen(why: str) -> Sample:
    return Sample(Exposure.OUT_OF_SAMPLE, 0, f"out-of-sample: {why}")


def _halves(data: BenchmarkData) -> Sample:
    learnt = sum(map(in_dev_half, data.prompts))
    if not learnt:
        return _unseen("it was trained on the other half of this benchmark")
    why = "it was trained on the dev half of this benchmark"
    if learnt < len(data.prompts):
        why += "; --split audit leaves it out"
    return _in_sample(data, learnt, why)


def _in_sample(data: BenchmarkData, learnt: int | None, why: str) -> Sample:
    share = "" if learnt is None else f" ({learnt:,} of {len(data.prompts):,} prompts)"
    return Sample(Exposure.IN_SAMPLE, learnt, f"in-sample{share}: {why}")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
