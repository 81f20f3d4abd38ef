"""The text that a `causal_llm` router reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing_service.errors import ArtifactError
from routing_service.routers.causal_llm_prompt import PromptTemplate


def template(tmp_path: Path, system: str, classifier: str) -> PromptTemplate:
    (tmp_path / "system").write_text(system)
    (tmp_path / "classifier").write_text(classifier)
    return PromptTemplate.read(tmp_path / "system", tmp_path / "classifier")


def test_the_prompt_is_llama_3s_chat_format(tmp_path: Path) -> None:
    text = template(tmp_path, "\n Be brief. ", "\nQ: {question}\nAgain {{x}}: {question}\n").render(" {a} {question} ")
    assert text == (
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n"
        "Q:  {a} {question} \nAgain {x}:  {a} {question}<|eot_id|>"
    )


def test_an_empty_system_text_has_no_turn(tmp_path: Path) -> None:
    assert (
        template(tmp_path, "", "{question}").render("hi") == "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
    )


@pytest.mark.parametrize("classifier", ["no field", "{question!r}", "{question:>9}", "{question.x}", "{}", "{", "}"])
def test_other_templates_are_refused(tmp_path: Path, classifier: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        template(tmp_path, "", classifier)
    assert caught.value.path == tmp_path / "classifier"


def test_a_template_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "system").write_bytes(b"\xff")
    with pytest.raises(ArtifactError, match="system cannot be read"):
        PromptTemplate.read(tmp_path / "system", tmp_path / "classifier")
