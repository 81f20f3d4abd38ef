from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from routing_client import endpoints
from routing_client._extras import MissingExtraError, require
from routing_client.endpoints import LITELLM, Endpoint, Endpoints, EndpointsError, load_endpoints

URL = "https://api.example.com/v1"


def write(folder: Path, text: str) -> Path:
    path = folder / "endpoints.yaml"
    path.write_text(text)
    return path


def test_the_documented_file(tmp_path: Path) -> None:
    assert endpoints.__doc__
    text = endpoints.__doc__.partition("::\n")[2]
    loaded = load_endpoints(write(tmp_path, text))
    assert list(loaded) == ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"]
    assert loaded["gpt-4-1106-preview"].upstream_model == "gpt-4.1"
    assert (loaded["gpt-4-1106-preview"].input_price, loaded["gpt-4-1106-preview"].output_price) == (2, 8)
    assert (loaded.strong_model, loaded.weak_model) == tuple(loaded)
    assert (loaded.service, loaded.fallback_model, loaded.failover) == ("127.0.0.1:50051", loaded.strong_model, True)
    assert loaded.find("another") is loaded.default
    assert loaded.find("gpt-4-1106-preview") is loaded["gpt-4-1106-preview"]


def test_aliases() -> None:
    made = Endpoints({"Auto[1m]": Endpoint(URL)}, aliases={"Auto": "router-static-50pct", "opus": "big"})
    for name in ("Auto", "auto", "AUTO", "auto[1m]", "auto [2m]"):
        assert made.resolve(name) == "router-static-50pct"
    assert made.resolve("Auto[1m]") == "Auto[1m]", "a model's own name goes first"
    assert made.resolve("opus") == "big"
    for name in ("gpt-4.1", "big", "autos", "[1m]", " " * 10**6):
        assert made.resolve(name) == name


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        (None, ("Authorization", "Bearer k")),
        ("authorization", ("authorization", "Bearer k")),
        ("x-api-key", ("x-api-key", "k")),
    ],
)
def test_the_header_that_carries_the_key(header: str | None, sent: tuple[str, str]) -> None:
    assert Endpoint(URL, api_key_header=header).key_header("k") == sent


def test_an_empty_file_has_no_endpoints(tmp_path: Path) -> None:
    loaded = load_endpoints(write(tmp_path, "# nothing\n"))
    assert (len(loaded), loaded.find("any"), loaded.failover) == (0, None, False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("models: {a: {base_url: ''}}", r"models\.a: base_url must be like https"),
        ("models: {a: {base_url: 'localhost:11434/v1'}}", "is there a scheme"),
        ("models: {a: {base_url: 'http://[::1'}}", "must be like"),
        ("models: {a: {base_url: 'https://me:pw@host/v1'}}", "user name or password"),
        ("models: {a: {base_url: 'http://host/v1?version=1'}}", "query"),
        ("models: {a: {base_url: 'http://host/v1#top'}}", "fragment"),
        ("models: {a: {base_url: 'http://my host/v1'}}", "white space"),
        ('models: {a: {base_url: "http://h", api_key: "sk-1\\n"}}', "api_key must be printable ASCII"),
        ("models: {a: {base_url: 'http://h', headers: {x-team: é}}}", "the header 'x-team' must be printable ASCII"),
        ("models: {a: {}}", r"models\.a: base_url is missing"),
        ("models: {a: http://host}", r"models\.a: must be a mapping"),
        ("models: {a: {base_url: 'http://h', apikey: x}}", "do you mean api_key"),
        ("models: {a: {base_url: 'http://h', api_key: x, api_key_env: Y}}", "keep one"),
        ("models: {a: {base_url: 'http://h', api_key_env: ''}}", "api_key_env must be"),
        ("models: {a: {base_url: 'http://h', api_key_header: 'x key'}}", "api_key_header must be the name"),
        ("models: {a: {base_url: 'http://h'}}\naliases: {a: b}", "'a' is a model already"),
        ("aliases: {a: b, b: c}", "'a' leads to 'b', which is an alias too"),
        ("aliases: {a: 7}", "must map names to names"),
        ("aliases: auto", "aliases must be a mapping of names to names"),
        ("models: {a: {base_url: 'http://h', input_price: -1}}", "input_price"),
        ("models: {a: {base_url: 'http://h', output_price: .nan}}", "output_price"),
        ("models: {a: {base_url: 'http://h', input_price: true}}", "input_price"),
        ("models: {a: {base_url: 'http://h', timeout: 0}}", "timeout"),
        ("models: {a: {base_url: 'http://h', headers: {x: 1}}}", "headers"),
        ("models: {a: {base_url: 'http://h', headers: [x]}}", "headers"),
        ("models: {1: {base_url: 'http://h'}}", "put it in quotes"),
        ("models: [a]", "models must map"),
        ("default: {}", "default: base_url is missing"),
        ("strong: a", "do you mean strong_model"),
        ("strong_model: a", "strong_model is 'a', which models has no endpoint for"),
        ("fallback_model: a\nmodels: {b: {base_url: 'http://h'}}", "it has: b"),
        ("strong_model: a\nweak_model: a\nmodels: {a: {base_url: 'http://h'}}", "both 'a'"),
        ("failover: 1", "true or false"),
        ("service: 50051", "service must be a string"),
        ("- a", "must be a mapping"),
        ("models: {a: [}", r"endpoints\.yaml:1:14: this is not YAML"),
    ],
)
def test_a_wrong_file_says_what_and_where(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(EndpointsError, match=complaint) as caught:
        load_endpoints(write(tmp_path, text))
    assert "endpoints.yaml" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EndpointsError, match="No such file"):
        load_endpoints(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"service: \xe9")
    with pytest.raises(EndpointsError, match="UTF-8"):
        load_endpoints(tmp_path / "latin.yaml")


def test_no_message_or_repr_shows_a_key(tmp_path: Path) -> None:
    shown = repr(Endpoints({"a": Endpoint(URL, api_key="sk-secret", headers={"x-api-key": "sk-secret"})}))
    assert URL in shown
    assert "sk-secret" not in shown
    for text in (
        "models: {a: {base_url: 'http://h', api_key: sk-secret, timeout: 0}}",
        "models:\n  a: {base_url: 'http://h', api_key: sk-secret: x}",
        "models: {a: {base_url: 'https://me:sk-secret@host'}}",
    ):
        with pytest.raises(EndpointsError) as caught:
            load_endpoints(write(tmp_path, text))
        assert "sk-secret" not in str(caught.value)


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    endpoint = Endpoint(URL, api_key_env="SOME_KEY")
    with pytest.raises(EndpointsError, match="SOME_KEY"):
        endpoint.key()
    monkeypatch.setenv("SOME_KEY", "sk-1\n")
    assert endpoint.key() == "sk-1"
    assert Endpoint(URL, api_key="sk-2").key() == "sk-2"
    assert Endpoint(URL).key() is None
    assert Endpoint(LITELLM, upstream_model="provider/model").key() is None


def test_a_key_that_no_header_can_hold_is_an_error_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("sk-secret\n", "sk-secret\r\nx: y", "sk-sécret-secret"):
        with pytest.raises(EndpointsError, match="api_key must be printable ASCII") as caught:
            Endpoint(URL, api_key=key)
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("SOME_KEY", "sk-sécret-secret")
    with pytest.raises(EndpointsError, match="SOME_KEY must be printable ASCII") as caught:
        Endpoint(URL, api_key_env="SOME_KEY").key()
    assert "secret" not in str(caught.value)


def test_what_is_no_endpoint_is_an_error_at_once() -> None:
    for wrong in (URL, {"base_url": URL}):
        with pytest.raises(EndpointsError, match=r"models\['a'\] must be an Endpoint"):
            Endpoints({"a": wrong})  # type: ignore[dict-item]  # it is wrong
        with pytest.raises(EndpointsError, match="default must be an Endpoint"):
            Endpoints(default=wrong)  # type: ignore[arg-type]  # it is wrong


def test_endpoints_are_copied_and_pickled() -> None:
    made = Endpoints({"a": Endpoint(URL, api_key="sk-1", headers={"x-team": "a"})}, strong_model="a", failover=True)
    for other in (copy.deepcopy(made), copy.copy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 (what this test made)
        assert other == made
        assert (other["a"].key(), other["a"].headers) == ("sk-1", {"x-team": "a"})


def test_what_is_given_is_copied() -> None:
    headers: dict[str, Any] = {"x-team": "a"}
    models = {"a": Endpoint(URL, headers=headers)}
    made = Endpoints(models)
    headers["x-team"] = "b"
    models.clear()
    assert made["a"].headers == {"x-team": "a"}


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'routing-client\[openai\]'") as caught:
        require("no_such_module_here", "openai", "this")
    assert caught.value.name == "no_such_module_here"
