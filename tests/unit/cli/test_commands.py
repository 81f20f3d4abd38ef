"""Commands of other packages: what they need, and that a broken one harms no other."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from routing_service.cli import commands
from tests.support.cli import Run, complaint

Plant = Callable[..., None]

# Needs no import of ours: the contract is a shape.
GREET = """
name = "greet"
summary = "Say 100 % hello."
example = "routing-service greet --to you"

class GreetError(Exception):
    exit_code = 3

def arguments(parser):
    parser.add_argument("--to", required=True)

def run(options):
    if options.to == "nobody":
        raise GreetError("there is nobody to greet; name someone")
    if options.to == "bug":
        raise RuntimeError("a bug")
    print("hello", options.to)
"""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Install packages of one module each: `plant(greet=text)` brings the command `greet`."""

    def install(**modules: str) -> None:
        for name, text in modules.items():
            (tmp_path / f"planted_{name}.py").write_text(text)
            folder = tmp_path / f"planted_{name}-1.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: planted-{name}\nVersion: 1.0\n")
            (folder / "entry_points.txt").write_text(f"[routing_service.commands]\n{name} = planted_{name}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    for name in [name for name in sys.modules if name.startswith("planted_")]:
        del sys.modules[name]


@pytest.fixture
def nothing_else_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pip install routing-client routing-service`."""
    monkeypatch.setattr(commands, "entry_points", lambda **_: list[EntryPoint]())


def test_a_package_brings_a_command(run: Run, plant: Plant) -> None:
    plant(greet=GREET)
    assert re.search(r"\n +greet +Say 100 % hello\.\n", run("--help").out)
    assert "Example: routing-service greet --to you" in run("greet", "--help").out
    assert run("greet", "--to", "you") == (0, "hello you\n", "")


def test_its_failures_are_told_like_ours(run: Run, plant: Plant) -> None:
    plant(greet=GREET)
    err = complaint(run("greet", "--to", "nobody"), code=3)
    assert err == "routing-service: error: there is nobody to greet; name someone\n"
    assert "see `routing-service greet --help`" in complaint(run("greet"), code=2)
    with pytest.raises(RuntimeError, match="a bug"):
        run("greet", "--to", "bug")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("raise RuntimeError('out of order')", "RuntimeError: out of order"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("name = 'greet'\nsummary = 7\ndef arguments(p): ...\ndef run(o): ...", "a command has a name, a summary"),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("name = 'greet'\nsummary = 'Half of it.'", "'arguments'"),
        ("name = summary = ''\ndef arguments(p): ...\ndef run(o): ...", "a command has a name, a summary"),
    ],
)
def test_a_broken_command_harms_no_other(run: Run, plant: Plant, module: str, says: str) -> None:
    plant(greet=module, other=GREET.replace("greet", "other"))
    shown = run("--help")
    assert shown.code == 0
    text = " ".join(shown.out.split())
    assert "which planted-greet brings, cannot be used" in text
    assert says in text
    assert all(name in text for name in ("serve", "score", "other"))
    assert run("other", "--to", "you").out == "hello you\n"
    assert says in complaint(run("greet", "--to", "you"))


def test_no_package_takes_the_name_of_a_command_of_the_service(run: Run, plant: Plant) -> None:
    plant(score=GREET.replace("greet", "score"))
    assert "JSON lines" in run("score", "--help").out


def test_other_commands_are_not_imported(run: Run, plant: Plant, tmp_path: Path) -> None:
    plant(greet=f"open({str(tmp_path / 'imported')!r}, 'w').close()\n{GREET}")
    run("check-config", tmp_path / "none.yaml")
    assert not (tmp_path / "imported").exists()
    run("--help")
    assert (tmp_path / "imported").exists()


@pytest.mark.usefixtures("nothing_else_installed")
@pytest.mark.parametrize(
    ("name", "distribution", "folder"),
    [
        ("train", "routing-lab", "./lab"),
        ("evaluate", "routing-lab", "./lab"),
        ("chat", "routing-gateway", "./gateway"),
    ],
)
def test_a_command_of_a_missing_package_says_what_to_install(
    run: Run, name: str, distribution: str, folder: str
) -> None:
    assert f"\n    {name} " not in run("--help").out
    for arguments in ([name], [name, "--help"], [name, "static", "--data", "x"]):
        err = complaint(run(*arguments))
        assert f"`{name}` comes with {distribution}, which is not installed" in err
        assert f"pip install {distribution} (in a checkout: pip install {folder})" in err


@pytest.mark.parametrize(
    ("arguments", "says", "page"),
    [
        (["scoer"], "did you mean 'score'?", "routing-service --help"),
        (["trian"], "did you mean 'train'?", "routing-service --help"),
        (["calibrate", "--strong-pct", "0.5"], "did you mean --strong-model-pct?", "routing-service calibrate --help"),
        (["score", "--inptu=x", "--output=y", "--input=z"], "did you mean --input?", "routing-service score --help"),
        (["decide", "hi", "--xyzzy"], "unrecognized arguments: --xyzzy;", "routing-service decide --help"),
        (
            ["train", "static", "--data", "a", "--output", "b", "--sede", "1"],
            "did you mean --seed?",
            "routing-service train static --help",
        ),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_and_the_right_page(
    run: Run, arguments: list[str], says: str, page: str
) -> None:
    err = complaint(run(*arguments), code=2)
    assert says in err
    assert f"see `{page}`" in err
