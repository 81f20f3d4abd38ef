"""The `openai` embedder and the proxy variables."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from routing_service.embedders.base import EmbedderContext
from routing_service.embedders.openai import OpenAIEmbedder
from routing_service.errors import ConfigError
from routing_service.yaml_sections import read_yaml
from tests.support.embedder_wire import failure
from tests.support.embedding_endpoint import FakeEmbeddingsEndpoint

pytest.importorskip("httpx", reason="the extra `openai` is not installed")

CLOSED = "http://me:secret@127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def build(base_url: str) -> OpenAIEmbedder:
    section = read_yaml(f"{{type: openai, model: m, base_url: '{base_url}', max_attempts: 1}}", "routing.yaml", Path())
    return OpenAIEmbedder.build(EmbedderContext("e", section))


@pytest.mark.parametrize("exempt", ["", "[::1]", "::1/128", "127.0.0.0/8", "*", "]:[, /, a:b:c", "\u2603"])
def test_no_value_keeps_it_from_this_machine(exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, CLOSED)
    monkeypatch.setenv("NO_PROXY", exempt)
    with FakeEmbeddingsEndpoint({"one": [1.0, 2.0]}) as endpoint:
        embedder = build(endpoint.base_url)
        assert embedder.embed(["one"]).vectors.tolist() == [[1.0, 2.0]]
        embedder.close()


def test_another_machine_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEmbeddingsEndpoint({"one": [1.0, 2.0]}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        embedder = build("http://embeddings.invalid/v1")
        assert embedder.embed(["one"]).vectors.tolist() == [[1.0, 2.0]]
        embedder.close()
        assert [request.headers["host"] for request in proxy.requests] == ["embeddings.invalid"]


def test_an_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", CLOSED)
    embedder = build("http://embeddings.invalid/v1")
    with structlog.testing.capture_logs() as logs:
        said = str(failure(embedder, "one"))
    embedder.close()
    assert "gave no vectors (connection, through the proxy http://127.0.0.1:9 (http_proxy))" in said
    assert {log.get("proxy") for log in logs if log["event"] == "embedder_failed"} == {
        "http://127.0.0.1:9 (http_proxy)"
    }
    assert "secret" not in f"{said}{logs}"


@pytest.mark.parametrize("value", ["http://me:secret@:80", "ftp://me:secret@h", "h:x"])
def test_a_variable_that_names_no_proxy_is_said_at_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(
        ConfigError, match=r"base_url: cannot be reached: the environment variable https_proxy"
    ) as caught:
        build("https://embeddings.invalid/v1")
    assert "secret" not in str(caught.value)
    build("https://127.0.0.1:1/v1").close()
