"""Generate the Python code of `protos/` into the client package, or check that it is up to date.

Usage: python scripts/protos.py generate|check

Run it with the oldest grpcio-tools that the project supports (see `constraints-protos.txt`): newer runtimes load older
generated code, never the reverse. `make protos` and `make protos-check` do so in a virtual environment of their own.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = "routing_client._gen"
TARGET = ROOT / "clients" / "python" / "routing_client" / "_gen"
HEADER = '"""Generated from `protos/` by `scripts/protos.py`. Do not edit."""\n'


def sources() -> list[str]:
    """Names of our .proto files, relative to `protos/`, sorted."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.glob("llmrouting/**/*.proto"))


def generate(target: Path) -> None:
    """Write the generated package to `target`, replacing what is there."""
    from grpc_tools import protoc

    includes = [f"-I{PROTOS}", f"-I{files('grpc_tools').joinpath('_proto')}"]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    outputs = [f"--{kind}={target}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    if protoc.main(["protoc", *includes, *outputs, *sources()]) != 0:
        raise SystemExit("protoc failed; its messages are above")
    for name in sources():
        if not re.search(r"^service ", (PROTOS / name).read_text(), flags=re.M):
            (target / name.replace(".proto", "_pb2_grpc.py")).unlink()
    for path in target.rglob("*.py*"):
        # protoc writes imports relative to the include folder; the package lives inside the client.
        path.write_text(re.sub(r"^from llmrouting\.", f"from {PACKAGE}.llmrouting.", path.read_text(), flags=re.M))
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text(HEADER)


def differences(left: Path, right: Path) -> list[str]:
    """Relative names of files that are not the same on both sides."""
    names = {path.relative_to(side) for side in (left, right) for path in side.rglob("*.py*") if path.is_file()}
    names = {name for name in names if "__pycache__" not in name.parts}
    return sorted(
        name.as_posix()
        for name in names
        if not ((left / name).is_file() and (right / name).is_file())
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


def check() -> None:
    """Exit with 1, naming the files, when the checked-in code is not what `generate` makes."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "_gen"
        generate(fresh)
        stale = differences(TARGET, fresh)
    if stale:
        raise SystemExit(f"generated code is stale: {', '.join(stale)}; run `make protos` and commit the result")
    print("generated code is up to date")


if __name__ == "__main__":
    commands = {"generate": lambda: generate(TARGET), "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit("usage: python scripts/protos.py generate|check")
    commands[sys.argv[1]]()
