"""Who may import whom: the rules of the design, held against the source and against a running server."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Serving rooms from the top down. A room may import those on lower floors, not its own floor's others.
FLOORS = [{"cli"}, {"server"}, {"engine"}, {"routers", "calibration"}, {"embedders"}, {"artifacts"}]
# What everyone may import. These import only one another.
FOUNDATION = {"errors", "config", "yaml_sections", "files", "plugins", "observability"}
SERVING = set().union(*FLOORS) | FOUNDATION
OFFLINE = {"evals", "training"}
OFFLINE_PACKAGES = {"export_onnx", "benchmarks"}
HEAVY = {"torch", "transformers", "pandas", "matplotlib", "lightgbm", "sklearn", "scipy", "onnx", "safetensors"}
GRPC = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "routing_client"}


@dataclass(frozen=True)
class Import:
    """One imported module and where; `lazy` when only a call of a function, or a type checker, brings it in."""

    module: str
    place: str
    lazy: bool


def imports_in(path: Path, package: tuple[str, ...]) -> Iterator[Import]:
    """Every import of a file; relative ones resolved against `package`, the parts of the package that holds it."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        place = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, place, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parts, *([node.module] if node.module else [])])
            # `from package import x` may name a module, so that each name counts.
            yield from (Import(f"{base}.{alias.name}", place, lazy) for alias in node.names)
        inner = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from (found for statement in node.body for found in walk(statement, True))
            yield from (found for statement in node.orelse for found in walk(statement, lazy))
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inner)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), False)


def fault(room: str, found: Import) -> str | None:
    """Why a file of `room` may not import that, or None when it may."""
    top, *rest = found.module.split(".")
    if room not in SERVING:
        return None if room in OFFLINE else f"the room {room} is not in this test's table: say where it belongs"
    if top in HEAVY or top in OFFLINE_PACKAGES or (top == "routing_service" and rest[:1] and rest[0] in OFFLINE):
        if room == "cli" and found.lazy and top not in HEAVY:
            return None
        return "serving imports nothing that is offline"
    if top in GRPC:
        if room == "server" or (room == "errors" and found.lazy) or (room == "cli" and top == "routing_client"):
            return None
        return "only server/ and errors.py (lazily) know gRPC"
    if top != "routing_service" or not rest or rest[0] not in SERVING or rest[0] == room or rest[0] in FOUNDATION:
        return None
    if room in FOUNDATION:
        return f"{room} is under everything and imports only {', '.join(sorted(FOUNDATION))}"
    here, there = (next(i for i, floor in enumerate(FLOORS) if name in floor) for name in (room, rest[0]))
    return None if there > here else f"{room} may not import {rest[0]}, which is above or beside it"


def violations(package: Path) -> list[str]:
    """What breaks the rules in the folder of `routing_service`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        # The package itself is imported by everyone, so it may import no more than errors does.
        room = {"__init__": "errors", "__main__": "cli"}.get(parts[1], parts[1])
        for imported in imports_in(path, parts[:-1]):
            reason = fault(room, imported)
            if reason:
                found.append(f"{'/'.join(parts[1:])} ({imported.place}) imports {imported.module}: {reason}")
    return found


def test_the_source_keeps_the_rules() -> None:
    assert violations(ROOT / "routing_service") == []


def test_every_serving_room_is_there() -> None:
    """A room that was renamed would drop out of the rules unseen."""
    names = {path.stem for path in (ROOT / "routing_service").iterdir()}
    assert names >= SERVING | OFFLINE


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("engine/engine.py", "from routing_service.server import app", "above or beside"),
        ("engine/engine.py", "import routing_service.server.app", "above or beside"),
        ("engine/engine.py", "from ..server import app", "above or beside"),
        ("engine/engine.py", "from .. import server", "above or beside"),
        ("routers/static.py", "from routing_service.calibration import table", "above or beside"),
        ("artifacts/manifest.py", "from routing_service.embedders import base", "above or beside"),
        ("errors.py", "from routing_service.artifacts import manifest", "under everything"),
        ("__init__.py", "from routing_service.engine import engine", "under everything"),
        ("engine/engine.py", "import grpc", "know gRPC"),
        ("engine/engine.py", "from google.rpc import status_pb2", "know gRPC"),
        ("engine/engine.py", "def f():\n    from routing_client._gen import x", "know gRPC"),
        ("errors.py", "import grpc", "know gRPC"),
        ("server/app.py", "import pandas as pd", "offline"),
        ("server/app.py", "def f():\n    import torch.nn", "offline"),
        ("server/app.py", "from routing_service.training import static", "offline"),
        ("routers/static.py", "from routing_service import evals", "offline"),
        ("routers/static.py", "import export_onnx", "offline"),
        ("cli.py", "from routing_service.training import static", "offline"),
        ("cli.py", "def f():\n    import pandas", "offline"),
        ("novel/thing.py", "import os", "not in this test's table"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, line: str, says: str) -> None:
    path = tmp_path / "routing_service" / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    (only,) = violations(tmp_path / "routing_service")
    assert says in only


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("engine/engine.py", "from routing_service.routers import static\nfrom routing_service.config import Config"),
        ("server/app.py", "import grpc\nfrom routing_service.engine import engine\nimport routing_client._gen"),
        ("errors.py", "def f():\n    import grpc"),
        ("errors.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import grpc"),
        (
            "cli.py",
            "def f():\n    from routing_service.training import static\n    from routing_client import RoutingClient",
        ),
        ("training/static.py", "import lightgbm, pandas\nfrom routing_service.routers import static"),
    ],
)
def test_what_is_allowed_is_not_found(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / "routing_service" / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert violations(tmp_path / "routing_service") == []


@pytest.mark.skipif(sys.platform == "win32", reason="not here: Windows has no SIGTERM to stop the server with")
def test_a_serving_process_loads_nothing_offline(tmp_path: Path) -> None:
    import grpc
    from routing_client._gen.llmrouting.v1.routing_service_pb2_grpc import RoutingServiceStub
    from routing_client.proto import routing_service_pb2 as pb

    ready, log = tmp_path / "ready", tmp_path / "stderr"
    # -X importtime names every module that the process loads, whenever it does, on stderr.
    command = [sys.executable, "-X", "importtime", "-m", "routing_service", "serve", "--address", "127.0.0.1:0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL, stderr=stderr, cwd=tmp_path, env=_env()
        )
    try:
        deadline = time.monotonic() + 60
        while not (ready.exists() and ready.read_text().strip()):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, "not ready after a minute"
            time.sleep(0.05)
        with grpc.insecure_channel(ready.read_text().strip()) as channel:
            stub = RoutingServiceStub(channel)
            assert stub.Decide(pb.DecideRequest(prompt="What is 2 + 2?"), timeout=30).decision.model
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    lines = [line for line in log.read_text().splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert "routing_service.server.app" in loaded, "the list of imports was not read rightly"
    forbidden = HEAVY | OFFLINE_PACKAGES
    assert {name for name in loaded if name.partition(".")[0] in forbidden} == set()
    assert {name for name in loaded if name.split(".")[:2] in [["routing_service", room] for room in OFFLINE]} == set()


def _env() -> dict[str, str]:
    """The environment with this process's import path, so that the test runs from a checkout as well."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
