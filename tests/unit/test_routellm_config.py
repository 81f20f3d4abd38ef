"""RouteLLM's configuration in place of ours is answered with the translation, which works."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing_service.config import parse_config
from routing_service.errors import ConfigError
from routing_service.routellm_config import translation

THEIRS = """
sw_ranking:
    arena_battle_datasets:
      - lmsys/lmsys-arena-human-preference-55k
      - routellm/gpt4_judge_battles
    arena_embedding_datasets: [routellm/arena_battles_embeddings]
causal_llm:
    checkpoint_path: routellm/causal_llm_gpt4_augmented
bert: {checkpoint_path: routellm/bert_gpt4_augmented}
mf: {checkpoint_path: routellm/mf_gpt4_augmented}
"""


def test_the_error_shows_the_same_in_ours() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(THEIRS, "config.yaml", Path())
    shown = str(caught.value)
    assert "is RouteLLM's configuration" in shown
    for line in (
        "export-onnx sw_ranking --battles lmsys/lmsys-arena-human-preference-55k routellm/gpt4_judge_battles "
        "--embeddings routellm/arena_battles_embeddings --output artifacts/sw_ranking",
        "export-onnx mf --checkpoint routellm/mf_gpt4_augmented --output artifacts/mf",
        "  bert: {type: bert, artifact: artifacts/bert}",
        "  mf: {type: mf, artifact: artifacts/mf, embedder: openai}",
    ):
        assert f"\n{line}\n" in shown


def test_the_translation_is_a_configuration() -> None:
    shown = translation(THEIRS)
    assert shown is not None
    config = parse_config(shown[shown.index("routers:") :] + "\ndefault_router: mf\n", "ours", Path())
    assert set(config.routers) == {"sw_ranking", "causal_llm", "bert", "mf"}
    assert set(config.embedders) == {"openai"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "mf: [",
        "mf: !!int ''",
        "mf: !!timestamp x",
        "mf: {type: mf}",
        "random: {}",
        "routers: {mf: {checkpoint_path: x}}",
        "mf: {checkpoint_path: x}\nserver: {}",
    ],
)
def test_what_is_not_theirs_is_not_translated(text: str) -> None:
    assert translation(text) is None
