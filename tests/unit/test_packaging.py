"""What is installed, pinned, built and copied fits together."""

from __future__ import annotations

import email
import fnmatch
import importlib.util
import re
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"
OURS = {"routing-service", "routing-client", "routing-lab", "routing-gateway"}


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


SERVICE_TABLE = read_toml(ROOT / "pyproject.toml")
CLIENT_TABLE = read_toml(CLIENT / "pyproject.toml")
LAB_TABLE = read_toml(ROOT / "lab" / "pyproject.toml")
GATEWAY_TABLE = read_toml(ROOT / "gateway" / "pyproject.toml")
SERVICE_DEPENDENCIES: list[str] = SERVICE_TABLE["tool"]["hatch"]["metadata"]["hooks"]["custom"]["dependencies"]


def pins(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def build_wheel(project: Path, folder: Path) -> tuple[list[str], Message]:
    """Names in a freshly built wheel, and its metadata."""
    from hatchling.builders.wheel import WheelBuilder

    (path,) = WheelBuilder(str(project)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        return names, email.message_from_bytes(wheel.read(metadata))


def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- wheels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("switch", "runtime"), [("", "onnxruntime"), ("0", "onnxruntime"), ("1", "onnxruntime-gpu")])
def test_a_wheel_requires_one_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, runtime: str
) -> None:
    monkeypatch.setenv("ROUTING_SERVICE_GPU", switch)
    _, metadata = build_wheel(ROOT, tmp_path)
    base = [Requirement(line) for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [item.name for item in base if item.name.startswith("onnxruntime")] == [runtime]
    assert len(base) == len(SERVICE_DEPENDENCIES)


def test_a_misspelt_switch_is_refused() -> None:
    with pytest.raises(ValueError, match="ROUTING_SERVICE_GPU is 'yes'"):
        hatch_build().dependencies(SERVICE_DEPENDENCIES, "yes")


def test_the_service_wheel_holds_the_router_that_ships_and_nothing_offline_of_ours(tmp_path: Path) -> None:
    names, metadata = build_wheel(ROOT, tmp_path)
    default = "routing_service/artifacts/default/"
    assert {default + "manifest.json", default + "pieces.json", "routing_service/py.typed"} <= set(names)
    assert any(name.startswith(default) and name.endswith(".onnx") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"routing_service", "export_onnx"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".csv", ".gz", ".pkl"))]
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]


def test_the_client_wheel_is_thin(tmp_path: Path) -> None:
    names, metadata = build_wheel(CLIENT, tmp_path)
    required = {Requirement(line).name for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert required == {"grpcio", "protobuf", "googleapis-common-protos"}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"routing_client"}
    assert "routing_client/py.typed" in names
    # The page, the echo and the proxy are the gateway's.
    suffixes = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert suffixes == {".py", ".pyi", ".typed"}
    assert not [name for name in names if re.search("echo|proxy|page|gateway/", name)]


@pytest.mark.parametrize(("project", "package"), [("lab", "routing_lab"), ("gateway", "routing_gateway")])
def test_the_wheels_of_lab_and_gateway_hold_their_code_and_no_data(tmp_path: Path, project: str, package: str) -> None:
    names, metadata = build_wheel(ROOT / project, tmp_path)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {package}
    assert f"{package}/py.typed" in names
    assert metadata.get_all("License-File") == ["LICENSE"]
    suffixes = {Path(name).suffix for name in names if ".dist-info/" not in name}
    page = {".html", ".js", ".css", ".svg"} if project == "gateway" else set()
    assert suffixes == {".py", ".typed", *page}
    if project == "gateway":
        assert {"routing_gateway/page/index.html", "routing_gateway/echo/app.py"} <= set(names)


def test_the_router_that_ships_is_small() -> None:
    folder = ROOT / "routing_service" / "artifacts" / "default"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sizes
    assert sum(sizes.values()) <= 12_000_000, sizes


# --- versions and pins --------------------------------------------------------------------------------------


def test_one_version() -> None:
    version = SERVICE_TABLE["project"]["version"]
    assert {table["project"]["version"] for table in (CLIENT_TABLE, LAB_TABLE, GATEWAY_TABLE)} == {version}
    assert f"routing-client=={version}" in SERVICE_DEPENDENCIES
    assert f"routing-service=={version}" in LAB_TABLE["project"]["dependencies"]
    assert f"routing-client=={version}" in GATEWAY_TABLE["project"]["dependencies"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_both_distributions_ask_for_the_same_grpc_and_protobuf() -> None:
    """They share the generated code, so that one's bound is the other's."""
    for dependency in CLIENT_TABLE["project"]["dependencies"]:
        assert dependency in SERVICE_DEPENDENCIES


def every_requirement() -> list[Requirement]:
    """What any of the four, or an extra of theirs, asks for; each once."""
    lines = [*SERVICE_DEPENDENCIES, "onnxruntime-gpu"]
    for table in (SERVICE_TABLE, CLIENT_TABLE, LAB_TABLE, GATEWAY_TABLE):
        lines += table["project"].get("dependencies", [])
        lines += [line for extra in table["project"].get("optional-dependencies", {}).values() for line in extra]
    requirements = map(Requirement, sorted(set(lines)))
    return [item for item in requirements if item.name not in OURS]


def test_a_floor_is_the_same_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for item in every_requirement():
        found.setdefault(item.name, set()).add(str(item.specifier))
    assert {name: floors for name, floors in found.items() if len(floors - {""}) > 1} == {}


def test_the_oldest_versions_that_ci_tests_are_the_floors() -> None:
    oldest = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins("constraints-oldest.txt")
    }
    lines = [*SERVICE_DEPENDENCIES, *CLIENT_TABLE["project"]["dependencies"], *GATEWAY_TABLE["project"]["dependencies"]]
    checked = 0
    for item in map(Requirement, [*lines, *CLIENT_TABLE["project"]["optional-dependencies"]["openai"]]):
        if item.name in OURS:
            continue
        floor = next(each.version for each in item.specifier if each.operator in {">=", "=="})
        assert Version(oldest[canonicalize_name(item.name)]) == Version(floor), f"{item.name}: run `make constraints`"
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("requirement", every_requirement(), ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    found = [
        pin for pin in pins("constraints.txt") if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
    ]
    assert found, f"{requirement.name} is not in constraints.txt; run `make constraints`"
    for pin in found:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert requirement.specifier.contains(specifier.version)


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt", "constraints-protos.txt"])
def test_pins_name_no_place(name: str) -> None:
    assert all(pin.url is None for pin in pins(name))
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_the_generator_is_the_oldest_supported() -> None:
    """Code that grpcio-tools makes asks for at least its own grpcio, and for the protobuf whose protoc it holds."""
    generator = next(str(pin.specifier)[2:] for pin in pins("constraints-protos.txt") if pin.name == "grpcio-tools")
    grpc_code = next((CLIENT / "routing_client" / "_gen").rglob("*_pb2_grpc.py")).read_text(encoding="utf-8")
    message_code = next((CLIENT / "routing_client" / "_gen").rglob("*_pb2.py")).read_text(encoding="utf-8")
    made_by = re.search(r"GRPC_GENERATED_VERSION = '([\d.]+)'", grpc_code)
    protobuf = re.search(r"Protobuf Python Version: ([\d.]+)", message_code)
    assert made_by is not None
    assert made_by[1] == generator
    assert protobuf is not None
    lowest = {item.name: min(s.version for s in item.specifier) for item in map(Requirement, SERVICE_DEPENDENCIES)}
    assert Version(lowest["grpcio"]) >= Version(generator)
    required = next(item for item in map(Requirement, SERVICE_DEPENDENCIES) if item.name == "protobuf")
    assert Version(lowest["protobuf"]) >= Version(protobuf[1])
    # A protobuf runtime loads the code of its own major version and of the one before.
    assert str(Version(protobuf[1]).major + 2) in {s.version for s in required.specifier if s.operator == "<"}


def test_licences_are_the_same() -> None:
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


# --- the container image ------------------------------------------------------------------------------------


def dockerfile() -> list[list[str]]:
    """The instructions, continuation lines joined, each split at white space."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def sent_to_the_builder(source: str) -> bool:
    """Whether .dockerignore lets a path into the build: the last pattern that matches it or a parent decides."""
    path = Path(source)
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatch(candidate.as_posix(), pattern) for candidate in [path, *path.parents[:-1]]):
            sent = line.startswith("!")
    return sent


def copied() -> list[str]:
    instructions = [words for words in dockerfile() if words[0] == "COPY" and not words[1].startswith("--from=")]
    return [source for words in instructions for source in words[1:-1]]


def test_what_the_image_copies_is_there_and_is_sent() -> None:
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert sent_to_the_builder(source), f"{source} is kept out by .dockerignore"
    assert not sent_to_the_builder("tests")
    assert not sent_to_the_builder(".git")


def test_the_image_builds_from_all_that_the_wheels_need() -> None:
    wanted = {"pyproject.toml", "hatch_build.py", "constraints.txt", "clients/python"}
    wanted |= {SERVICE_TABLE["project"]["readme"], *SERVICE_TABLE["project"]["license-files"]}
    wanted |= set(SERVICE_TABLE["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert wanted <= set(copied())


def test_the_image_runs_as_nobody_in_particular_and_is_watched() -> None:
    last = {words[0]: words[1:] for words in dockerfile()}
    user, group = last["USER"][0].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last["STOPSIGNAL"] == ["SIGTERM"]
    assert '"health",' in last["HEALTHCHECK"]
    assert last["ENTRYPOINT"] == ['["routing-service"]']


# --- the Makefile -------------------------------------------------------------------------------------------


def test_every_target_is_declared_and_described() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    assert declared is not None
    described = re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE)
    assert sorted(described) == sorted(declared[1].split())
    assert {"setup", "test", "demo", "lint", "protos", "protos-check", "protos-lint", "bench", "train"} <= set(
        described
    )
