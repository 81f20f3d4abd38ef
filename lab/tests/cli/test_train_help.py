"""The defaults that `train TYPE --help` prints are those of a training that is not told otherwise."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from routing_lab.cli import train
from routing_lab.options import Option
from routing_lab.training.finetune.request import BertRequest, CausalLLMRequest
from routing_lab.training.mf.request import MatrixFactorizationRequest
from routing_lab.training.request import TrainingRequest

from tests.support.cli import Run

# Fields whose value of nothing stands for what their help says in words.
IN_WORDS = {
    "work",
    "table",
    "embeddings",
    "encoder",
    "quantize",
    "learning_rate",
    "system_template",
    "classifier_template",
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


def printed(run: Run, kind: type[TrainingRequest]) -> dict[str, str]:
    """What stands behind each option in the help."""
    ran = run("train", kind.router_type, "--help")
    assert ran.code == 0, ran
    assert f"Example: {kind.example}" in ran.out
    lines = re.findall(r"^  --([a-z-]+)(.*)$", ran.out.replace("\n                        ", " "), re.MULTILINE)
    return {name.replace("-", "_"): text for name, text in lines}


def default(text: str) -> str | None:
    found = re.search(r"\(default ([^)]*)\)$", text)
    return None if found is None else found[1]


def the_option(kind: type[Any], name: str) -> Option:
    """What was said of a field, where it was first declared."""
    for base in kind.__mro__:
        declared = vars(base).get("__dataclass_fields__", {}).get(name)
        if declared is not None and declared.metadata:
            return declared.metadata["option"]  # type: ignore[no-any-return] # metadata may hold anything
    raise AssertionError(name)


@pytest.mark.parametrize("kind", train.REQUESTS, ids=lambda kind: kind.router_type)
def test_every_printed_default_is_the_one_that_is_used(run: Run, kind: type[TrainingRequest]) -> None:
    texts = printed(run, kind)
    seen = set()
    for field in fields(kind):
        its = the_option(kind, field.name)
        if its.flags is not None:
            seen |= {f"{value.value}_{field.name}" for value in its.flags}
            continue
        seen.add(field.name)
        shown = default(texts[field.name])
        if field.default in (MISSING, None, ()) or field.default is False:
            assert shown is None
            assert ("(default: " in texts[field.name]) == (field.name in IN_WORDS)
        else:
            assert shown is not None
            value = its.parse(shown) if its.parse is not None else its.choices(shown)  # type: ignore[operator,misc]
            assert value == field.default
    assert texts.keys() - {"json"} == seen


def test_a_default_that_changes_changes_the_help_and_the_training(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Changed(MatrixFactorizationRequest):
        trainer = __name__
        epochs: int = 1234

    asked: list[Changed] = []

    class Report:
        def as_dict(self) -> dict[str, str]:
            return {}

    def do(request: Changed) -> Report:
        asked.append(request)
        return Report()

    monkeypatch.setattr(train, "REQUESTS", (Changed,))
    monkeypatch.setattr(train, "import_module", lambda _: type("Trainer", (), {"train": staticmethod(do)}))
    assert default(printed(run, Changed)["epochs"]) == "1234"
    assert run("train", "mf", "--data", tmp_path, "--output", tmp_path / "out", "--json").code == 0
    assert asked == [Changed(data=[tmp_path], output=tmp_path / "out")]
    assert asked[0].epochs == 1234


def test_the_usual_learning_rate_depends_on_what_is_trained(run: Run) -> None:
    for kind, whole, adapters in ((BertRequest, 2e-5, 2e-4), (CausalLLMRequest, 1e-5, 1e-4)):
        plain: dict[str, Any] = {"checkpoint": "c", "data": [], "output": Path("o")}
        assert kind(**plain, lora_rank=0).peak_learning_rate == whole
        assert kind(**plain, lora_rank=4).peak_learning_rate == adapters
        assert kind(**plain, lora_rank=4, learning_rate=0.5).peak_learning_rate == 0.5
        assert f"(default: {whole:g}, with adapters {adapters:g})" in printed(run, kind)["learning_rate"]


def test_the_work_is_beside_the_output() -> None:
    asked = MatrixFactorizationRequest(data=[], output=Path("artifacts/mf"))
    assert asked.work_folder == Path("artifacts/mf.work")
