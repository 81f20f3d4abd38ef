"""Baselines that a router must beat to be worth its training: nearest neighbours, and clusters.

Both know the outcomes of training prompts and nothing else of the task. They compare prompts by vectors that they are
given, which for `evaluate` are those of the shipped router. In comparisons of routers such simple ones do well
(arXiv 2505.12601), so `evaluate` has them beside the others: `--routers static knn clusters`.

They are fitted on the dev halves in the folder of `--data`, so the audit halves are new to them.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from routing_lab.data.preferences import PreferenceData, check_examples, load_preferences
from routing_lab.evals.metrics import Float64
from routing_service.artifacts.manifest import Manifest, SelfTest
from routing_service.errors import UsageError
from routing_service.extras import require
from routing_service.models import ModelPair
from routing_service.routers.base import Router, Scores

Float32 = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Float32]

# The numbers of neighbours and of clusters to choose from.
NEIGHBOURS = (10, 30, 100, 300)
CLUSTERS = (16, 64, 256)
# So many similarities are held at once: 64 MB.
_SIMILARITIES = 16_000_000


class Baseline(Router):
    """A router that was fitted on training prompts and is not kept.

    Args:
        models: the pair whose outcomes the targets are.
        embed: texts to vectors of length 1, (texts, dimension).
        vectors: those of the training prompts, (prompts, dimension).
        targets: the strong model's outcome for each, 0..1, (prompts,).
        trained_on: the manifest's provenance, from which evaluations know what it has seen.
    """

    # It computes in NumPy, which lets other threads run; another process would have to fit it again.
    concurrency = 2

    def __init__(
        self, models: ModelPair, embed: Embed, vectors: Float32, targets: Float64, trained_on: dict[str, Any]
    ) -> None:
        digest = hashlib.sha256(vectors.tobytes() + targets.tobytes())
        manifest = Manifest(
            type=self.type,
            models=models,
            max_tokens=1,
            files={},
            license="",
            self_test=SelfTest(0.0, ()),
            provenance=trained_on,
        )
        super().__init__(models=models, revision=digest.hexdigest()[:16], manifest=manifest)
        self._embed = embed

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - it knows one pair
        """The mean outcome of like training prompts."""
        return Scores(self.means(self._embed(texts)).tolist(), None, [False] * len(texts))

    @abstractmethod
    def means(self, vectors: Float32) -> Float64:
        """The mean outcome of training prompts like these, (texts,), from vectors (texts, dimension)."""


class Neighbours(Baseline):
    """The mean outcome of the training prompts with the most similar vectors.

    How many of them is chosen by the squared error of leaving each training prompt out.
    """

    type: ClassVar[str] = "knn"

    def __init__(
        self, models: ModelPair, embed: Embed, vectors: Float32, targets: Float64, trained_on: dict[str, Any]
    ) -> None:
        super().__init__(models, embed, vectors, targets, trained_on)
        self._vectors, self._targets = vectors, targets
        sizes = [size for size in NEIGHBOURS if size < len(vectors)] or [len(vectors) - 1]
        # A prompt's nearest neighbour is itself.
        found = self._means_of(vectors, [size + 1 for size in sizes])
        errors = [
            np.mean(((mean * (size + 1) - targets) / size - targets) ** 2)
            for size, mean in zip(sizes, found, strict=True)
        ]
        self.neighbours = sizes[int(np.argmin(errors))]

    def means(self, vectors: Float32) -> Float64:
        """See `Baseline.means`."""
        chosen: Float64 = self._means_of(vectors, [self.neighbours])[0]
        return chosen

    def _means_of(self, vectors: Float32, sizes: Sequence[int]) -> Float64:
        """Means over so many nearest neighbours, (sizes, texts)."""
        most, rows = max(sizes), max(1, _SIMILARITIES // len(self._vectors))
        means = np.empty((len(sizes), len(vectors)))
        for start in range(0, len(vectors), rows):
            part = slice(start, start + rows)
            similar = vectors[part] @ self._vectors.T
            nearest = np.argpartition(-similar, most - 1, axis=1)[:, :most]
            order = np.argsort(-np.take_along_axis(similar, nearest, 1), axis=1, kind="stable")
            outcomes = self._targets[np.take_along_axis(nearest, order, 1)].cumsum(1)
            means[:, part] = outcomes[:, [size - 1 for size in sizes]].T / np.array(sizes)[:, None]
        return means


class Clusters(Baseline):
    """The mean outcome of the training prompts in the nearest of k-means' clusters.

    Means are drawn towards the mean of all by `PRIOR` prompts of it. How many clusters is chosen by the squared error
    of leaving each training prompt out.
    """

    type: ClassVar[str] = "clusters"
    PRIOR = 5.0

    def __init__(
        self, models: ModelPair, embed: Embed, vectors: Float32, targets: Float64, trained_on: dict[str, Any]
    ) -> None:
        super().__init__(models, embed, vectors, targets, trained_on)
        distinct = len(np.unique(vectors, axis=0))
        fits = [self._fit(vectors, targets, count) for count in CLUSTERS if count <= distinct]
        fits = fits or [self._fit(vectors, targets, distinct)]
        _, self._centres, self._outcomes = min(fits, key=lambda fit: fit[0])
        self.clusters = len(self._centres)

    def means(self, vectors: Float32) -> Float64:
        """See `Baseline.means`."""
        found: Float64 = self._outcomes[_nearest(vectors, self._centres)]
        return found

    def _fit(self, vectors: Float32, targets: Float64, count: int) -> tuple[float, Float32, Float64]:
        """The error, the centres and their outcomes."""
        from sklearn.cluster import KMeans

        centres = KMeans(count, n_init=1, random_state=0).fit(vectors).cluster_centers_.astype(np.float32)
        members = _nearest(vectors, centres)
        sizes = np.bincount(members, minlength=count) + self.PRIOR
        sums = np.bincount(members, targets, minlength=count) + self.PRIOR * targets.mean()
        left_out = (sums[members] - targets) / (sizes[members] - 1)
        return float(np.mean((left_out - targets) ** 2)), centres, sums / sizes


BASELINES: dict[str, type[Baseline]] = {baseline.type: baseline for baseline in (Neighbours, Clusters)}


def fit_baseline(name: str, data: Path | None, vectors: Callable[[], Embed] | None, strong: str, weak: str) -> Baseline:
    """Fit the baseline `name` for a pair of models.

    Args:
        name: one of `BASELINES`.
        data: the folder of `--data`.
        vectors: makes what gives texts their vectors, (texts, dimension) of any length.
        strong: the strong model, as the data has it.
        weak: the weak model.

    Raises:
        UsageError: there is nothing to fit it on, or a package is missing.
    """
    require(f"--routers {name}", "routing-lab", "train", "onnx", "sklearn")
    if data is None or vectors is None:
        raise UsageError(
            f"--routers {name} is fitted on the dev halves of MMLU and GSM8K; name their folder with --data"
        )
    preferences = load_preferences([data], strong, weak)
    models = ModelPair(strong, weak)
    check_examples(preferences.examples, preferences.files, models)
    give = vectors()

    def embed(texts: Sequence[str]) -> Float32:
        return unit(give(texts))

    known = embed([example.prompt for example in preferences.examples])
    targets = np.array([example.target for example in preferences.examples])
    return BASELINES[name](models, embed, known, targets, _provenance(preferences))


def unit(vectors: Float32) -> Float32:
    """The vectors, (texts, dimension), scaled to length 1; zeros stay zeros."""
    lengths = np.sqrt((vectors**2).sum(1, keepdims=True))
    scaled: Float32 = vectors / np.maximum(lengths, np.float32(1e-6))
    return scaled


def _provenance(preferences: PreferenceData) -> dict[str, Any]:
    return {"data": [{"name": file.name, "sha256": file.sha256, "used": file.used} for file in preferences.files]}


def _nearest(vectors: Float32, centres: Float32) -> npt.NDArray[np.intp]:
    """The nearest of `centres` of each vector, (vectors,)."""
    nearest: npt.NDArray[np.intp] = ((centres**2).sum(1) / 2 - vectors @ centres.T).argmin(1)
    return nearest
