from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from routing_service.artifacts.loading import DEFAULT_ARTIFACT, open_artifact
from routing_service.artifacts.manifest import SelfTestVector
from routing_service.config import parse_config
from routing_service.embedders.registry import Embedders
from routing_service.errors import ArtifactError, ConfigError
from routing_service.models import ModelPair
from routing_service.routers import static
from routing_service.routers.base import Router
from routing_service.routers.registry import build_routers
from routing_service.routers.static import StaticRouter

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def router(static_artifact: Path) -> StaticRouter:
    return StaticRouter(open_artifact(static_artifact, "static"))


def refusal(folder: Path) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        StaticRouter(open_artifact(folder, "static"))
    assert str(folder) in str(caught.value)
    return caught.value


def test_it_takes_everything_from_the_manifest(router: StaticRouter, static_artifact: Path) -> None:
    manifest = open_artifact(static_artifact, "static").manifest
    assert router.type == "static"
    assert router.inline
    assert (router.revision, router.max_tokens, router.calibration) == (
        manifest.revision,
        manifest.max_tokens,
        manifest.calibration,
    )
    assert router.models == ModelPair("big", "small")
    assert router.strong_names == {"big"}
    assert router.weak_names == {"small"}


def test_it_answers_to_configured_names_and_to_the_artifact_s_own(static_artifact: Path) -> None:
    router = StaticRouter(open_artifact(static_artifact, "static"), ModelPair("gpt", "mixtral"))
    assert router.models == ModelPair("gpt", "mixtral")
    assert router.strong_names == {"gpt", "big"}
    assert router.weak_names == {"mixtral", "small"}


def test_scores_are_plain_python_numbers(router: StaticRouter) -> None:
    scores = router.score(["hello world", "x y " * 100], router.models)
    assert all(type(rate) is float for rate in scores.strong_win_rates)
    assert scores.prompt_tokens == [2, 64]
    assert scores.truncated == [False, True]
    assert scores.tokenize_us > 0
    assert scores.inference_us > 0


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=12))
def test_a_batch_gives_exactly_what_single_runs_give(
    router: StaticRouter, nan_character: str, texts: list[str]
) -> None:
    texts = [text.replace(nan_character, "") for text in texts]
    batch = router.score(texts, router.models)
    single = [router.score([text], router.models) for text in texts]
    assert list(batch.strong_win_rates) == [s.strong_win_rates[0] for s in single]
    assert batch.prompt_tokens is not None
    assert list(batch.prompt_tokens) == [s.prompt_tokens[0] for s in single if s.prompt_tokens]
    assert list(batch.truncated) == [s.truncated[0] for s in single]
    assert all(0 <= rate <= 1 for rate in batch.strong_win_rates)


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "😀" * 100_000])
def test_any_string_gets_a_probability(router: StaticRouter, text: str) -> None:
    (rate,) = router.score([text], router.models).strong_win_rates
    assert 0 <= rate <= 1


def test_what_the_graph_returns_is_passed_on_for_the_engine_to_judge(router: StaticRouter, nan_character: str) -> None:
    assert np.isnan(router.score(["x", nan_character], router.models).strong_win_rates).tolist() == [False, True]


# --- artifacts that deviate ---------------------------------------------------------------------------------


def test_a_self_test_that_deviates_is_refused(tmp_path: Path, build_artifact: Build) -> None:
    folder = build_artifact(tmp_path / "a", vectors=(SelfTestVector("a secret", 0.123),))
    error = refusal(folder)
    assert "vector 0 gives" in str(error)
    assert "a secret" not in str(error)


def test_an_artifact_that_returns_nan_is_refused(tmp_path: Path, build_artifact: Build, nan_character: str) -> None:
    refusal(build_artifact(tmp_path / "a", vectors=(SelfTestVector(nan_character, 0.5),)))


def test_another_model_s_graph_is_refused(tmp_path: Path, build_artifact: Build) -> None:
    graph = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["x"], ["y"])],
            "other",
            [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    error = refusal(build_artifact(tmp_path / "a", graph=graph, vectors=(SelfTestVector("x", 0.5),)))
    assert error.path.name == "model.onnx"
    assert "['byte_counts', 'token_ids']" in str(error)


@pytest.mark.parametrize("options", [{"ids_type": TensorProto.INT64}, {"squeeze": False}])
def test_a_graph_of_other_types_or_shapes_is_refused(
    tmp_path: Path, build_artifact: Build, build_graph: Callable[..., onnx.ModelProto], options: dict[str, Any]
) -> None:
    graph = build_graph(**options)
    refusal(build_artifact(tmp_path / "a", graph=graph, vectors=(SelfTestVector("x", 0.5),)))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_an_artifact_that_does_not_list_what_is_needed_is_refused(
    tmp_path: Path, build_artifact: Build, static_artifact: Path, name: str
) -> None:
    files = dict(open_artifact(static_artifact, "static").manifest.files)
    del files[name]
    folder = build_artifact(tmp_path / "a", files=files)
    (folder / name).unlink()
    assert f"lists no '{name}'" in str(refusal(folder))


# --- from a configuration -----------------------------------------------------------------------------------


def built(text: str, base: Path = Path()) -> dict[str, Router]:
    config = parse_config(text, "f.yaml", base)
    return build_routers(config, Embedders(config))


def test_routers_are_built_from_a_configuration(tmp_path: Path, static_artifact: Path) -> None:
    shutil.copytree(static_artifact, tmp_path / "mine")
    routers = built(
        """
models: {strong: gpt, weak: mixtral}
routers:
  near: {type: static, artifact: mine, threads: 2}
  far: {type: static, artifact: mine, models: {strong: a, weak: b}}
  odds: {type: random, seed: 3}
""",
        tmp_path,
    )
    assert {name: (router.type, router.models) for name, router in routers.items()} == {
        "near": ("static", ModelPair("gpt", "mixtral")),
        "far": ("static", ModelPair("a", "b")),
        "odds": ("random", ModelPair("gpt", "mixtral")),
    }


def test_without_an_artifact_the_one_that_ships_is_loaded(
    static_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "DEFAULT_ARTIFACT", static_artifact)
    assert built("")["static"].models == ModelPair("big", "small")


@pytest.mark.parametrize(
    ("options", "line", "where", "problem"),
    [
        ("type: sttic", 3, "routers.a.type", "no router type is named 'sttic'; did you mean 'static'?"),
        ("artefact: x", 4, "routers.a.artefact", "did you mean 'artifact'?"),
        ("threads: -1", 3, "routers.a", "threads must be"),
        ("threads: two", 4, "routers.a.threads", "must be int, not 'two' (str)"),
    ],
)
def test_wrong_options_are_told_with_line_and_key(options: str, line: int, where: str, problem: str) -> None:
    own_type = "" if options.startswith("type") else "    type: static\n"
    with pytest.raises(ConfigError) as caught:
        built(f"routers:\n  a:\n{own_type}    {options}\n")
    assert (caught.value.line, caught.value.where) == (line, where)
    assert problem in caught.value.problem


def test_options_of_a_provider_may_be_of_any_scalar_kind(static_artifact: Path) -> None:
    routers = built(
        f"""
routers:
  a:
    type: static
    artifact: '{static_artifact}'
    provider_options: {{CPUExecutionProvider: {{use_arena: "1"}}}}
"""
    )
    assert routers["a"].type == "static"


def test_an_artifact_that_is_not_there_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere/manifest\.json is missing"):
        built("routers: {a: {type: static, artifact: nowhere}}", tmp_path)


@pytest.fixture(scope="module")
def shipped() -> StaticRouter:
    return StaticRouter(open_artifact(DEFAULT_ARTIFACT, "static"))


def test_the_shipped_router_says_how_much_it_understood(shipped: StaticRouter) -> None:
    texts = ["?", "hi", "What is the capital of France?", "Beweise, dass es unendlich viele Primzahlen gibt."]
    nothing, little, *all_of_it = shipped.score(texts, shipped.models).signals or []
    assert 0 <= nothing < 0.2
    assert little < 0.5
    assert all_of_it == [1, 1]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Prove that there are infinitely many prime numbers.", "math"),
        ("Write a Python function that reverses a linked list.", "code"),
        ("Escribe un poema sobre la lluvia.", "creative"),
        ("Thanks, that was great!", "chitchat"),
    ],
)
def test_the_shipped_router_names_the_topic(shipped: StaticRouter, text: str, topic: str) -> None:
    assert shipped.topic(text) == topic


def test_an_artifact_of_the_first_edition_has_neither(router: StaticRouter) -> None:
    assert router.score(["hello"], router.models).signals is None
    assert router.topic("hello") == ""
