"""Benchmarks by name, by file, and from an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest
from routing_lab.evals.registry import BENCHMARKS, load_benchmark

from routing_service.errors import UsageError
from tests.support.benchmarks import write_lines

MODULE = """
from pathlib import Path
import numpy as np
from routing_service.errors import UsageError
from routing_lab.evals.benchmarks import Benchmark, BenchmarkData

class Tickets(Benchmark):
    def load(self, data):
        if data is None:
            raise UsageError("tickets needs --data")
        scores = {"big": np.array([5.0, 3]), "small": np.array([4.0, 3])}
        return BenchmarkData("tickets", "Tickets", "stars", ("a", "b"), scores)

class Hollow(Benchmark):
    def load(self, data):
        return BenchmarkData("hollow", "Hollow", "stars", (), {})

class Needy(Benchmark):
    def __init__(self, path): ...
    def load(self, data): ...

class Clumsy(Benchmark):
    def load(self, data):
        return {}["column"]

NoBenchmark = dict
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with benchmarks, as its installer would leave it."""
    info = tmp_path / "site/ticket_benchmarks-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ticket-benchmarks\nVersion: 1.0\n")
    names = {"tickets": "Tickets", "hollow": "Hollow", "needy": "Needy", "wrong": "NoBenchmark", "broken": "Missing"}
    names["clumsy"] = "Clumsy"
    points = "\n".join(f"{name} = ticket_benchmarks_of_a_test:{attribute}" for name, attribute in names.items())
    (info / "entry_points.txt").write_text(f"[routing_service.benchmarks]\n{points}\nmmlu = somewhere:Else\n")
    (tmp_path / "site/ticket_benchmarks_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def test_a_package_adds_one_with_a_small_class(installed: None, tmp_path: Path) -> None:
    assert BENCHMARKS.names() == [
        "broken",
        "clumsy",
        "gsm8k",
        "hollow",
        "mmlu",
        "mt-bench",
        "needy",
        "tickets",
        "wrong",
    ]
    data = load_benchmark("tickets", tmp_path)
    assert (data.title, data.prompts) == ("Tickets", ("a", "b"))
    with pytest.raises(UsageError, match="tickets needs --data"):
        load_benchmark("tickets", None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hollow", "--benchmark hollow: cannot be loaded: ValueError: the benchmark 'hollow' has no prompts"),
        ("clumsy", "--benchmark clumsy: cannot be loaded: KeyError: 'column'; report it to its package"),
        ("needy", "--benchmark needy: cannot be loaded: .*missing 1 required positional argument"),
        ("wrong", "--benchmark: benchmark 'wrong' is <class 'dict'>, which is no Benchmark"),
        ("broken", "--benchmark: benchmark 'broken' cannot be imported"),
    ],
)
def test_a_broken_package_is_told(installed: None, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_benchmark(name, None)


def test_a_package_cannot_take_a_shipped_name(installed: None, evals_folder: Path) -> None:
    assert load_benchmark("mmlu", evals_folder).title == "MMLU"


def test_a_file_needs_no_name(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "own.jsonl", [{"prompt": "a", "scores": {"m": 1}}])
    assert load_benchmark(str(path), None).name == "own"
    assert load_benchmark(str(path.rename(tmp_path / "own.log")), None).name == "own.log"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mmul", r"did you mean 'mmlu'\?.*'gsm8k', 'mmlu', 'mt-bench'"),
        ("own.csv", r"own\.csv: cannot be read: No such file or directory; name an existing file"),
        ("own.log", r"no benchmark is named 'own\.log'.*There is no file of that name either"),
    ],
)
def test_an_unknown_name_is_told_with_those_there_are(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_benchmark(name, None)
