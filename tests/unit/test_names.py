"""One command renames what is published under the names of protos/names.yaml."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from scripts import names

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {"go_module": "example.org/acme/routing-go", "java_group": "org.example.llmrouting.acme", "npm_scope": "@acme"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files in which names stand, and names.yaml."""
    for path in (*names.places(ROOT), ROOT / "protos" / "names.yaml"):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "names.yaml"
    }


def want(root: Path, wanted: dict[str, str]) -> None:
    text = (root / "protos" / "names.yaml").read_text(encoding="utf-8")
    for key, name in wanted.items():
        text = re.sub(rf"^{key}: .*$", f'{key}: "{name}"', text, flags=re.MULTILINE)
    (root / "protos" / "names.yaml").write_text(text, encoding="utf-8")


def test_the_names_in_force_are_the_wanted_ones() -> None:
    assert names.in_force(ROOT) == names.wanted(ROOT)
    for proto in (ROOT / "protos").rglob("*.proto"):
        text = proto.read_text(encoding="utf-8")
        wanted = names.wanted(ROOT)
        assert f'option go_package = "{wanted["go_module"]}/llmrouting/v1;llmroutingv1";' in text, proto
        assert f'option java_package = "{wanted["java_group"]}.v1";' in text, proto
        assert "option java_multiple_files = true;" in text, proto


def test_all_names_are_replaced_everywhere_and_can_be_put_back(copy: Path) -> None:
    before, old = files(copy), names.in_force(copy)
    want(copy, OTHERS)
    changed = names.rename(copy, [copy / name for name in before])
    assert names.in_force(copy) == OTHERS
    kinds = {path.suffix for path in changed}
    assert {".proto", ".yaml", ".mod", ".go", ".xml", ".java", ".json", ".md"} - kinds <= {".md"}
    after = files(copy)
    for name in old.values():
        alone = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
        assert not [path for path, text in after.items() if alone.search(text)]
    assert names.rename(copy, [copy / name for name in before]) == []
    want(copy, old)
    names.rename(copy, [copy / name for name in before])
    assert files(copy) == before


def test_a_longer_name_is_not_touched(copy: Path) -> None:
    page = copy / "README.md"
    page.write_text("my.example.llmrouting example.llmrouting2 @llmrouting-x example.llmrouting.v1 @llmrouting/a\n")
    want(copy, OTHERS)
    names.rename(copy, [page])
    expected = "my.example.llmrouting example.llmrouting2 @llmrouting-x org.example.llmrouting.acme.v1 @acme/a\n"
    assert page.read_text() == expected


@pytest.mark.parametrize(
    ("key", "name"),
    [("go_module", "routing"), ("go_module", "Example.com/x"), ("java_group", "com.Example"), ("npm_scope", "acme")],
)
def test_a_name_of_the_wrong_form_is_refused(copy: Path, key: str, name: str) -> None:
    want(copy, {key: name})
    with pytest.raises(SystemExit, match=f"names.yaml: {key}: '{name}' is not"):
        names.rename(copy, [])


def test_a_missing_name_is_refused(copy: Path) -> None:
    (copy / "protos" / "names.yaml").write_text("go_module: example.org/x\n")
    with pytest.raises(SystemExit, match="must hold go_module, java_group, npm_scope"):
        names.wanted(copy)
