"""Which routers are evaluated, for which pair, and what their win rates depend on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from routing_lab.evals.cache import CacheKey
from routing_lab.evals.routers import cache_key, load_router, with_unconfigured

from routing_service.artifacts.manifest import read_manifest
from routing_service.config import Config, parse_config
from routing_service.embedders.base import Embedder, EmbedderContext, Embeddings
from routing_service.errors import ArtifactError, UsageError
from routing_service.models import ROUTELLM_PAIR, ModelPair
from routing_service.plugins import Plugins
from routing_service.routers.base import Router, RouterContext, Scores
from routing_service.routers.registry import ROUTERS
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
    text = f"{{a: {{type: static, artifact: '{static_artifact}'}}, b: {{type: static, artifact: nowhere}}}}"
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
        key(configured(tmp_path, f"{{type: static, artifact: '{name}'}}"), "r") for name in ("one", "copy", "two")
    )
    assert one == copy
    assert one != two
    renamed = parse_config("routers: {another: {type: static, artifact: one}}", "a test", tmp_path)
    assert key(renamed, "another") == one


def test_prompts_and_options_count(tmp_path: Path, static_artifact: Path) -> None:
    plain = configured(tmp_path, f"{{type: static, artifact: '{static_artifact}'}}")
    threads = configured(tmp_path, f"{{type: static, artifact: '{static_artifact}', threads: 2}}")
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
routers: {{mf: {{type: mf, artifact: '{mf_artifact}', embedder: e}}}}
embedders: {{e: {{type: openai, base_url: "http://127.0.0.1:9/v1", {options}}}}}
"""
        return key(parse_config(text, "a test", tmp_path), "mf")

    keys = [with_embedder("model: one"), with_embedder("model: two"), with_embedder("model: one, dimensions: 8")]
    assert len({found.file_name for found in keys if found}) == 3
    assert with_embedder("model: one") == keys[0]


def test_an_embedder_s_revision_counts_and_its_folder_and_patience_do_not(tmp_path: Path, config: Config) -> None:
    class Encoder(Embedder):
        type = "encoder"
        irrelevant_keys = frozenset(("artifact", "patience"))

        @classmethod
        def build(cls, context: EmbedderContext) -> Encoder:
            raise NotImplementedError

        def embed(self, texts: Sequence[str]) -> Embeddings:
            raise NotImplementedError

    def with_encoder(revision: str, options: str) -> CacheKey | None:
        encoder = Encoder(dimension=8)
        encoder.revision = revision
        section = read_yaml(f"{{type: encoder, {options}}}", "a test", tmp_path)
        return cache_key(replace(load_router(config, "static", None, None), embedders=((encoder, section),)), "abc")

    first = with_encoder("1", "artifact: one, patience: 5")
    assert first == with_encoder("1", "artifact: two, patience: 6")
    assert first not in (with_encoder("2", "artifact: one"), with_encoder("1", "cut: 9"), key(config, "static"))


# --- routers of other packages --------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleOptions:
    """All of them have defaults."""

    artifact: str = ""
    vectors: str | None = None
    seed: int = 0


class Rule(Router):
    """A plug-in whose keys are called as ours are and mean something else."""

    type = "rule"
    options = RuleOptions
    learns = False

    @classmethod
    def build(cls, context: RouterContext) -> Self:
        options = context.options(RuleOptions)
        if options.vectors is not None:
            context.embedder(options.vectors)
        return cls(models=context.models or ROUTELLM_PAIR, revision=f"seed-{options.seed}")

    def score(self, texts: Sequence[str], models: ModelPair) -> Scores:  # noqa: ARG002 - one pair
        return Scores([0.5] * len(texts), None, [False] * len(texts))


@dataclass(frozen=True)
class NeedyOptions:
    """One has no default."""

    words: str


class Needy(Rule):
    """A plug-in that needs an option."""

    type = "needy"
    options = NeedyOptions  # type: ignore[assignment] # the base has other options


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rule` and `needy`, as if a package had brought them."""
    added = {"rule": SimpleNamespace(load=lambda: Rule), "needy": SimpleNamespace(load=lambda: Needy)}
    monkeypatch.setattr(Plugins, "_added", lambda plugins: added if plugins is ROUTERS else {})


@pytest.mark.usefixtures("installed")
def test_a_plug_in_without_needed_options_is_evaluated_by_its_type_s_name(config: Config) -> None:
    loaded = load_router(with_unconfigured(config, ["rule"], seed=5), "rule", None, None)
    assert (loaded.router.type, loaded.router.revision) == ("rule", "seed-5")
    with pytest.raises(UsageError, match="--routers: 'needy' needs the option 'words'"):
        with_unconfigured(config, ["needy"], seed=5)


@pytest.mark.usefixtures("installed")
def test_a_plug_in_s_artifact_is_what_it_says_and_no_key(tmp_path: Path, static_artifact: Path) -> None:
    """A key called `artifact` may be a folder of another kind, or ours and not what the router learnt from."""
    (tmp_path / "notes").mkdir()
    for folder in ("notes", static_artifact):
        assert (
            load_router(configured(tmp_path, f"{{type: rule, artifact: '{folder}'}}"), "r", None, None).router.manifest
            is None
        )
    own = load_router(configured(tmp_path, f"{{type: static, artifact: '{static_artifact}'}}"), "r", None, None)
    assert own.router.manifest == read_manifest(static_artifact)


@pytest.mark.usefixtures("installed")
def test_every_option_of_a_plug_in_counts_but_those_that_it_says_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (configured(tmp_path, f"{{type: rule, artifact: '{name}'}}") for name in ("one", "other"))
    assert key(one, "r") != key(other, "r")
    monkeypatch.setattr(Rule, "irrelevant_keys", frozenset(("artifact",)))
    assert key(one, "r") == key(other, "r")


@pytest.mark.usefixtures("installed")
def test_an_embedder_of_a_plug_in_counts_whatever_the_key_is_called(tmp_path: Path) -> None:
    def with_model(model: str) -> CacheKey | None:
        text = f"""
routers: {{r: {{type: rule, vectors: e}}}}
embedders: {{e: {{type: openai, base_url: "http://127.0.0.1:9/v1", model: {model}}}}}
"""
        return key(parse_config(text, "a test", tmp_path), "r")

    assert with_model("one") == with_model("one")
    assert with_model("one") != with_model("two")
