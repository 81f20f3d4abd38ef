"""Who may import whom: the rules of the design, held against the source and against a running server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.imports import Import, cycles, imports_in, package_graph, source_files
from tests.support.waiting import PATIENCE_SECONDS, address_in

ROOT = Path(__file__).resolve().parents[2]

# Every package that is installed, where it lies, and which of the others it may import. The one way:
# routing_lab -> export_onnx -> routing_service -> routing_client <- routing_gateway
PACKAGES = {
    "routing_client": "clients/python",
    "routing_service": ".",
    "export_onnx": ".",
    "routing_lab": "lab",
    "routing_gateway": "gateway",
}
MAY_IMPORT = {
    "routing_client": set[str](),
    "routing_service": {"routing_client"},
    "export_onnx": {"routing_service", "routing_client"},
    "routing_lab": {"export_onnx", "routing_service", "routing_client"},
    "routing_gateway": {"routing_client"},
}
# Folders of a checkout. Python finds them as packages there, and nowhere else.
FOLDERS = {"lab", "gateway", "clients", "deploy", "docs", "examples", "protos"}
# What only tests, benchmarks and scripts import.
NOT_INSTALLED = FOLDERS | {"benchmarks", "scripts", "tests", "conftest"}

# Rooms from the top down. A room may import those on lower floors, not its own floor's others.
FLOORS = {
    "routing_service": [
        {"cli"},
        {"server"},
        {"engine"},
        {"asks", "routers", "calibration"},
        {"embedders"},
        {"artifacts", "rows"},
    ],
    "routing_lab": [{"cli"}, {"training"}, {"evals"}, {"data"}, {"options", "progress"}],
}
# What everyone in the service may import. These import only one another.
FOUNDATION = {
    "asks_config",
    "config",
    "errors",
    "extras",
    "files",
    "models",
    "observability",
    "plugins",
    "protobuf_wire",
    "routellm_config",
    "scratch",
    "tether",
    "yaml_sections",
}
# Rooms that the design names and that later work will bring.
PLANNED = {"models"}
HEAVY = {"torch", "transformers", "pandas", "matplotlib", "lightgbm", "sklearn", "scipy", "onnx", "safetensors", "peft"}
GRPC = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "routing_client"}
# Of the client, what only reads text: it comes without gRPC, and without the rest of the client.
READERS = {"routing_client.proxies", "routing_client.targets"}
# The one exception: the plot of `calibrate` needs matplotlib, in a function, with the extra `plots`.
PLOT = ("routing_service/cli/calibration_plot", "matplotlib")


def fault(parts: tuple[str, ...], found: Import) -> str | None:
    """Why a file, given by the parts of its dotted name, may not import that; None when it may."""
    package, top = parts[0], found.module.split(".")[0]
    if top in NOT_INSTALLED:
        return f"{top} is a folder of a checkout, not a package that is installed"
    if top in PACKAGES and top != package:
        if top not in MAY_IMPORT[package]:
            return f"{package} may import {', '.join(sorted(MAY_IMPORT[package])) or 'none of the others'}"
        if private(found, package):
            return f"{found.module} is private to {top}"
    floors = FLOORS.get(package)
    if package == "routing_service":
        reason = service_fault(parts, found)
        if reason is not None:
            return reason
    return None if floors is None else floor_fault(floors, package, parts, found)


def private(found: Import, package: str) -> bool:
    """Whether a module or name is another package's private one."""
    top, *rest = found.module.split(".")
    return top in PACKAGES and top != package and any(part.startswith("_") for part in rest)


def service_fault(parts: tuple[str, ...], found: Import) -> str | None:
    """Serving stays light, and only the server knows gRPC."""
    room, top = room_of(parts), found.module.split(".")[0]
    if top in HEAVY and not (found.lazy and ("/".join(parts), top) == PLOT):
        return "serving imports nothing that is offline"
    if top in GRPC and ".".join(found.module.split(".")[:2]) not in READERS:
        if room == "server" or (room == "errors" and found.lazy) or (room == "cli" and top == "routing_client"):
            return None
        return "only server/ and errors.py (lazily) know gRPC"
    return None


def floor_fault(floors: list[set[str]], package: str, parts: tuple[str, ...], found: Import) -> str | None:
    """Downwards only."""
    room, (top, *rest) = room_of(parts), found.module.split(".")
    foundation = FOUNDATION if package == "routing_service" else set()
    rooms = set().union(*floors) | foundation
    if room not in rooms:
        return f"the room {room} is not in this test's table: say where it belongs"
    if top != package or not rest or rest[0] not in rooms or rest[0] == room or rest[0] in foundation:
        return None
    if room in foundation:
        return f"{room} is under everything and imports only {', '.join(sorted(foundation))}"
    here, there = (next(i for i, floor in enumerate(floors) if name in floor) for name in (room, rest[0]))
    return None if there > here else f"{room} may not import {rest[0]}, which is above or beside it"


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a file. A package itself is imported by everyone, so it may import no more than its lowest room."""
    lowest = {"routing_service": "errors", "routing_lab": "options"}.get(parts[0], "")
    return {"__init__": lowest, "__main__": "cli"}.get(parts[1], parts[1])


def violations(package: Path) -> list[str]:
    """What breaks the rules in the folder of a package."""
    return [
        f"{'/'.join(parts)} ({found.place}) imports {found.module}: {reason}"
        for path, parts in source_files(package)
        for found in imports_in(path, parts[:-1])
        if (reason := fault(parts, found))
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_source_keeps_the_rules(package: str) -> None:
    assert violations(ROOT / PACKAGES[package] / package) == []


def test_every_room_is_there() -> None:
    """A room that was renamed would drop out of the rules unseen."""
    for package, floors in FLOORS.items():
        names = {path.stem for path in (ROOT / PACKAGES[package] / package).iterdir()}
        rooms = set().union(*floors) | (FOUNDATION if package == "routing_service" else set())
        assert names >= rooms - PLANNED


def test_no_two_packages_import_each_other() -> None:
    assert cycles(package_graph([ROOT / folder / package for package, folder in PACKAGES.items()])) == []


def test_packages_that_import_each_other_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "one/deep/a.py", "def f():\n    from two import b")
    plant(tmp_path, "two/b.py", "import three.c")
    plant(tmp_path, "three/c.py", "import one.deep.a")
    plant(tmp_path, "four/d.py", "import one.deep.a")
    graph = package_graph([tmp_path / name for name in ("one", "two", "three", "four")])
    assert cycles(graph) == [("one.deep", "three"), ("one.deep", "two"), ("three", "two")]


@pytest.mark.parametrize("folder", ["tests", "lab/tests", "gateway/tests", "benchmarks", "scripts", "examples"])
def test_what_is_not_installed_uses_public_names(folder: str) -> None:
    """Only the client's own tests may look behind its public names, and a folder of the checkout is no package."""
    assert list(outside_faults(ROOT / folder)) == []


def outside_faults(folder: Path) -> Iterator[str]:
    """What files that belong to no package import though they may not."""
    for path in sorted(folder.rglob("*.py")):
        for found in imports_in(path):
            top, *rest = found.module.split(".")
            hidden = top == "routing_client" and any(part.startswith("_") for part in rest)
            if hidden or top in FOLDERS:
                yield f"{path.relative_to(folder)} ({found.place}) imports {found.module}"


@pytest.mark.parametrize("line", ["from routing_client import _gen", "import lab.routing_lab", "from gateway import x"])
def test_a_planted_private_name_is_found(tmp_path: Path, line: str) -> None:
    plant(tmp_path, "test_it.py", line)
    assert len(list(outside_faults(tmp_path))) == 1


def plant(folder: Path, name: str, text: str) -> Path:
    """Write a file into a folder that need not be there."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


SERVICE = "routing_service/"


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        (SERVICE + "engine/engine.py", "from routing_service.server import app", "above or beside"),
        (SERVICE + "engine/engine.py", "import routing_service.server.app", "above or beside"),
        (SERVICE + "engine/engine.py", "from ..server import app", "above or beside"),
        (SERVICE + "engine/engine.py", "from .. import server", "above or beside"),
        (SERVICE + "routers/static.py", "from routing_service.calibration import table", "above or beside"),
        (SERVICE + "artifacts/manifest.py", "from routing_service.embedders import base", "above or beside"),
        (SERVICE + "errors.py", "from routing_service.artifacts import manifest", "under everything"),
        (SERVICE + "__init__.py", "from routing_service.engine import engine", "under everything"),
        (SERVICE + "engine/engine.py", "import grpc", "know gRPC"),
        (SERVICE + "engine/engine.py", "from google.rpc import status_pb2", "know gRPC"),
        (SERVICE + "engine/engine.py", "def f():\n    from routing_client.proto import x", "know gRPC"),
        (SERVICE + "errors.py", "import grpc", "know gRPC"),
        (SERVICE + "config.py", "from routing_client import client", "know gRPC"),
        (SERVICE + "config.py", "from routing_client.targeting import x", "know gRPC"),
        (SERVICE + "server/app.py", "import pandas as pd", "offline"),
        (SERVICE + "server/app.py", "def f():\n    import torch.nn", "offline"),
        (SERVICE + "cli/score.py", "def f():\n    import matplotlib", "offline"),
        (SERVICE + "cli/calibration_plot.py", "import matplotlib", "offline"),
        (SERVICE + "cli/calibration_plot.py", "def f():\n    import pandas", "offline"),
        (SERVICE + "server/app.py", "from routing_lab.training import work", "may import routing_client"),
        (SERVICE + "cli/score.py", "def f():\n    from routing_lab import evals", "may import routing_client"),
        (SERVICE + "routers/static.py", "import export_onnx", "may import routing_client"),
        (SERVICE + "cli/chat.py", "def f():\n    import routing_gateway", "may import routing_client"),
        (SERVICE + "server/app.py", "from routing_client._gen import x", "private"),
        (SERVICE + "server/app.py", "import lab.routing_lab.data", "folder of a checkout"),
        (SERVICE + "novel/thing.py", "import os", "not in this test's table"),
        ("export_onnx/mf.py", "from routing_lab.data import sources", "may import"),
        ("routing_lab/evals/plot.py", "from routing_lab.training import report", "above or beside"),
        ("routing_lab/data/rows.py", "def f():\n    from ..evals import metrics", "above or beside"),
        ("routing_lab/novel/thing.py", "import os", "not in this test's table"),
        ("routing_lab/cli/train.py", "import gateway", "folder of a checkout"),
        ("routing_lab/evals/plot.py", "import benchmarks.load", "folder of a checkout"),
        ("routing_gateway/app.py", "from routing_service.errors import UsageError", "may import routing_client"),
        ("routing_gateway/app.py", "from routing_client._settings import check_target", "private"),
        ("routing_gateway/app.py", "from routing_client import _settings", "private"),
        ("routing_client/client.py", "def f():\n    import routing_service", "none of the others"),
        ("routing_client/client.py", "import routing_gateway", "none of the others"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, line: str, says: str) -> None:
    path = plant(tmp_path, file, line)
    (only,) = violations(tmp_path / path.relative_to(tmp_path).parts[0])
    assert says in only


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            SERVICE + "engine/engine.py",
            "from routing_service.routers import static\nfrom routing_service.config import Config",
        ),
        (SERVICE + "server/app.py", "import grpc\nfrom routing_service.engine import x\nimport routing_client.proto"),
        (SERVICE + "errors.py", "def f():\n    import grpc"),
        (SERVICE + "config.py", "from routing_client.targets import read_address"),
        (SERVICE + "embedders/openai.py", "from routing_client import proxies"),
        (SERVICE + "errors.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import grpc"),
        (SERVICE + "cli/decide.py", "def f():\n    from routing_client import RoutingClient"),
        (SERVICE + "cli/calibration_plot.py", "def f():\n    from matplotlib.figure import Figure"),
        ("routing_lab/training/static/train.py", "import lightgbm, pandas\nfrom routing_service.routers import static"),
        ("routing_lab/training/report.py", "from routing_lab.evals import metrics\nfrom export_onnx import parity"),
        ("routing_gateway/app.py", "from routing_client.endpoints import Endpoint\nfrom routing_gateway import _x"),
    ],
)
def test_what_is_allowed_is_not_found(tmp_path: Path, file: str, text: str) -> None:
    path = plant(tmp_path, file, text)
    assert violations(tmp_path / path.relative_to(tmp_path).parts[0]) == []


@pytest.mark.parametrize("arguments", [["--help"], ["train", "static", "--help"], ["evaluate", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """It is there at once, and without the extras."""
    loaded = (
        "import sys; from routing_service.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: print('\\0', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, env=_env())
    modules = {name.partition(".")[0] for name in done.stdout.partition("\0")[2].split()}
    assert "routing_service" in modules
    assert modules & HEAVY == set()


@pytest.mark.skipif(sys.platform == "win32", reason="not here: Windows has no SIGTERM to stop the server with")
def test_a_serving_process_loads_nothing_offline(tmp_path: Path) -> None:
    import grpc
    from routing_client.proto import routing_service_pb2 as pb
    from routing_client.proto import routing_service_pb2_grpc as pb_grpc

    ready, log = tmp_path / "ready", tmp_path / "stderr"
    # -X importtime names every module that the process loads, whenever it does, on stderr.
    command = [sys.executable, "-X", "importtime", "-m", "routing_service", "serve", "--address", "127.0.0.1:0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL, stderr=stderr, cwd=tmp_path, env=_env()
        )
    try:
        with grpc.insecure_channel(address_in(ready, process, log)) as channel:
            assert pb_grpc.RoutingServiceStub(channel).Decide(pb.DecideRequest(prompt="What is 2 + 2?")).decision.model
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    lines = [line for line in log.read_text().splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert "routing_service.server.app" in loaded, "the list of imports was not read rightly"
    forbidden = HEAVY | (set(PACKAGES) - {"routing_service", "routing_client"})
    assert {name for name in loaded if name.partition(".")[0] in forbidden} == set()


def _env() -> dict[str, str]:
    """The environment with this process's import path, so that the test runs from a checkout as well."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
