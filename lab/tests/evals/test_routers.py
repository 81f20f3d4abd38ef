"""Which routers are evaluated, for which pair, and what their win rates depend on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from routing_lab.evals.cache import CacheKey
from routing_lab.evals.routers import cache_key, load_router, with_unconfigured

from routing_service.config import Config, parse_config
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.errors import ArtifactError, UsageError
from routing_service.models import ModelPair
from routing_service.yaml_sections import read_yaml
from tests.support.mf import export_tiny


def key(config: Config, name: str, prompts: str = "abc", **models: Any) -> CacheKey | None:
    loaded = load_router(config, name, models.get("strong"), models.get("weak"))
    found = cache_key(loaded, prompts)
    loaded.close()
    return found


def configured(tmp_path: Path, router: str) -> Config:
    return parse_config(f"routers: {{r: {router}}}", "a test", tmp_path)


def test_chance_and_the_shipped_router_need_no_configuration(config: Config) -> None:
    found = with_unconfigured(config, ["odds", "random", "static"], seed=5)
    assert load_router(found, "random", None, None).router.revision == "seed-5"
    assert found.routers["static"] is config.routers["static"]
    with pytest.raises(UsageError, match=r"--routers: no router is named 'randm'; did you mean 'random'\?"):
        with_unconfigured(config, ["randm"], seed=5)


def test_only_the_router_that_is_asked_for_is_loaded(tmp_path: Path, static_artifact: Path) -> None:
    text = f"{{a: {{type: static, artifact: {static_artifact}}}, b: {{type: static, artifact: nowhere}}}}"
    config = parse_config(f"routers: {text}", "a test", tmp_path)
    assert load_router(config, "a", None, None).name == "a"
    with pytest.raises(ArtifactError):
        load_router(config, "b", None, None)


@pytest.mark.parametrize(
    ("strong", "weak", "pair", "own"),
    [
        (None, None, ("big", "small"), False),
        ("org/BIG", "small", ("big", "small"), False),
        ("other", None, ("big", "small"), True),
    ],
)
def test_a_router_is_scored_for_the_pair_as_far_as_it_knows_it(
    config: Config, strong: str | None, weak: str | None, pair: tuple[str, str], own: bool
) -> None:
    loaded = load_router(config, "static", strong, weak)
    assert (loaded.pair, loaded.own_pair) == (ModelPair(*pair), own)


def test_a_revision_counts_and_a_name_and_a_place_do_not(tmp_path: Path, build_artifact: Any) -> None:
    build_artifact(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    build_artifact(tmp_path / "two", license="MIT")
    one, copy, two = (
        key(configured(tmp_path, f"{{type: static, artifact: {name}}}"), "r") for name in ("one", "copy", "two")
    )
    assert one == copy
    assert one != two
    renamed = parse_config("routers: {another: {type: static, artifact: one}}", "a test", tmp_path)
    assert key(renamed, "another") == one


def test_prompts_and_options_count(tmp_path: Path, static_artifact: Path) -> None:
    plain = configured(tmp_path, f"{{type: static, artifact: {static_artifact}}}")
    threads = configured(tmp_path, f"{{type: static, artifact: {static_artifact}, threads: 2}}")
    keys = [key(plain, "r"), key(plain, "r", "abd"), key(threads, "r")]
    assert len({found.file_name for found in keys if found}) == 3


def test_what_may_change_unseen_is_not_kept(config: Config) -> None:
    assert key(config, "odds") is not None
    assert key(config, "luck") is None
    loaded = load_router(config, "odds", None, None)
    loaded.router.revision = "unversioned"
    assert cache_key(loaded, "abc") is None


def test_an_embedder_counts_though_the_revision_does_not_know_it(tmp_path: Path) -> None:
    mf_artifact = export_tiny(tmp_path / "mf")

    def with_embedder(options: str) -> CacheKey | None:
        text = f"""
routers: {{mf: {{type: mf, artifact: {mf_artifact}, embedder: e}}}}
embedders: {{e: {{type: openai, base_url: "http://127.0.0.1:9/v1", {options}}}}}
"""
        return key(parse_config(text, "a test", tmp_path), "mf")

    keys = [with_embedder("model: one"), with_embedder("model: two"), with_embedder("model: one, dimensions: 8")]
    assert len({found.file_name for found in keys if found}) == 3
    assert with_embedder("model: one") == keys[0]


def test_an_encoders_artifact_counts_by_its_revision(tmp_path: Path, config: Config, build_artifact: Any) -> None:
    class Encoder(Embedder):
        type = "encoder"

        @classmethod
        def build(cls, context: EmbedderContext) -> Encoder:
            raise NotImplementedError

        def embed(self, texts: Sequence[str]) -> Embeddings:
            raise NotImplementedError

    keys = []
    for license_name in ("Apache-2.0", "MIT"):  # another artifact at the same place
        build_artifact(tmp_path / "encoder", license=license_name)
        section = read_yaml("{type: encoder, artifact: encoder}", "a test", tmp_path)
        loaded = load_router(config, "static", None, None)
        keys.append(cache_key(replace(loaded, embedder=(Encoder(dimension=8), section)), "abc"))
    assert keys[0] != keys[1]
    assert keys[0] != key(config, "static")
