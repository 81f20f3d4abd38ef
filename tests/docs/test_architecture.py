"""docs/architecture.md and CONTRIBUTING's layout name what is there, and the picture's arrows are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.imports import package_graph

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "routing_service",
    "export_onnx",
    "clients/python/routing_client",
    "lab/routing_lab",
    "gateway/routing_gateway",
)
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LAYOUT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Layout\n")[2].partition("\n## ")[0]
# The picture's subgraphs, by their names in it.
SUBGRAPHS = {
    "lab": "routing_lab",
    "exporter": "export_onnx",
    "service": "routing_service",
    "gateway": "routing_gateway",
    "client": "routing_client",
}
# Every room of the service may import it, which the text says; so many arrows would hide the others.
NOT_DRAWN = "routing_service.observability"


def paths(text: str) -> list[str]:
    """What stands in backticks and is a path of the repository. `NAME` stands for a name to be chosen."""
    return sorted({name for name in re.findall(r"`([\w./-]*/[\w./-]*)`", text) if "NAME" not in name})


def drawn() -> set[tuple[str, str]]:
    """The picture's arrows, each from a package or room to another."""
    picture = re.search(r"```mermaid\n(.*?)```", ARCHITECTURE, flags=re.DOTALL)
    assert picture is not None
    arrows = re.findall(r"^ *([\w.]+)(?:\[[^]]*\])? --> ([\w.]+)", picture[1], flags=re.MULTILINE)
    return {(SUBGRAPHS.get(a, a), SUBGRAPHS.get(b, b)) for a, b in arrows}


def imported() -> set[tuple[str, str]]:
    """The source's arrows between packages, and between the rooms of one package."""
    arrows = set()
    for here, imports in package_graph([ROOT / package for package in PACKAGES]).items():
        for there in imports:
            same = here.split(".")[0] == there.split(".")[0]
            depth = 2 if same else 1
            arrows.add((".".join(here.split(".")[:depth]), ".".join(there.split(".")[:depth])))
    return arrows


def joined(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows, and those that follow from them: from a to c where there are some from a to b and from b to c."""
    while more := {(a, d) for a, b in arrows for c, d in arrows if b == c} - arrows:
        arrows = arrows | more
    return arrows


@pytest.mark.parametrize("path", sorted({*paths(ARCHITECTURE), *paths(LAYOUT)}))
def test_a_named_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_paths_are_found() -> None:
    assert paths("`a/b.py`, `c/`, `router`, `a/NAME.py`, `make docs`") == ["a/b.py", "c/"]


def test_the_layout_has_every_folder() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    assert folders - {"build", "dist"} <= {path.split("/")[0] for path in paths(LAYOUT)}


def test_every_drawn_arrow_is_an_import() -> None:
    assert drawn() <= imported()


def test_every_import_follows_from_the_drawn_arrows() -> None:
    found = {(a, b) for a, b in imported() if NOT_DRAWN not in (a, b) and a.count(".") == b.count(".")}
    assert found <= joined(drawn())
