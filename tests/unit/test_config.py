from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from routing_service.config import (
    DEFAULT_ADDRESS,
    ROUTER_KEYS,
    Config,
    LimitsConfig,
    ObservabilityConfig,
    PolicyConfig,
    ServerConfig,
    ShutdownConfig,
    load_config,
    parse_config,
    split_address,
)
from routing_service.errors import ConfigError
from routing_service.models import ModelPair


def parse(text: str) -> Config:
    return parse_config(text, "routing.yaml", Path("/etc/routing"))


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "routers: {}", "---\n"])
def test_nothing_said_is_the_router_that_ships(text: str) -> None:
    config = parse(text)
    assert list(config.routers) == ["static"]
    assert config.routers["static"].type == "static"
    assert (config.default_router, config.default_policy, config.models) == ("static", None, None)
    assert config.server.address == DEFAULT_ADDRESS
    assert config.fallback.on_router_error == "error"
    assert config == load_config(None)


def test_a_whole_configuration() -> None:
    config = parse(
        """
models: {strong: gpt, weak: mixtral}
default_router: odds
default_policy: cheap
routers:
  static: {type: static, artifact: artifacts/static, threads: 2}
  odds: {type: random, seed: 7, models: {strong: a, weak: b}}
policies:
  cheap: {router: odds, strong_share: 0.2}
  exact: {threshold: 0}
fallback: {on_router_error: strong}
server:
  address: "[::1]:0"
  workers: 4
  metrics_address: 127.0.0.1:9090
  reflection: false
  limits: {max_batch_items: 8}
  shutdown: {delay_seconds: 1, grace_seconds: 2.5}
observability: {log_level: debug, log_format: console}
"""
    )
    assert config.models == ModelPair("gpt", "mixtral")
    assert (config.default_router, config.default_policy) == ("odds", "cheap")
    assert config.routers["odds"].models == ModelPair("a", "b")
    assert config.routers["static"].models is None
    assert config.policies == {"cheap": PolicyConfig("odds", None, 0.2), "exact": PolicyConfig(None, 0.0, None)}
    assert config.fallback.on_router_error == "strong"
    assert config.server == ServerConfig(
        "[::1]:0", 4, "127.0.0.1:9090", False, limits=LimitsConfig(max_batch_items=8), shutdown=ShutdownConfig(1.0, 2.5)
    )
    assert config.observability == ObservabilityConfig("debug", "console")


def test_the_default_router_is_static_if_there_is_one_else_the_first() -> None:
    assert parse("routers: {a: {type: random}, static: {type: random}}").default_router == "static"
    assert parse("routers: {b: {type: random}, a: {type: random}}").default_router == "b"


def test_sections_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        parse("").default_router = "x"  # type: ignore[misc] # that it is frozen is the point


@pytest.mark.parametrize(
    ("text", "line", "where", "problem"),
    [
        ("\nroutres: {}\n", 2, "routres", "did you mean 'routers'?"),
        ("server:\n  adress: a:1\n", 2, "server.adress", "did you mean 'address'?"),
        ("server:\n  limits:\n    max_batch_itms: 1\n", 3, "server.limits.max_batch_itms", "'max_batch_items'"),
        ("routers:\n  a:\n    tpye: random\n", 3, "routers.a", "lacks the key 'type'; is 'tpye' meant to be it?"),
        ("routers:\n  a:\n", 2, "routers.a", "lacks the key 'type'"),
        ("routers:\n  a: {type: 5}\n", 2, "routers.a.type", "must be text"),
        ("routers:\n  a: {type: x, calibration: 5}\n", 2, "routers.a.calibration", "must be text"),
        ("server: {limits: {max_calibrations: 0}}\n", 1, "server.limits", "max_calibrations must be from 1"),
        ("server: {limits: {calibration_idle_seconds: 0}}\n", 1, "server.limits", "must be above 0"),
        ("server: {limits: {calibration_idle_seconds: .nan}}\n", 1, "server.limits", "must be above 0"),
        ("routers:\n  a: random\n", 2, "routers.a", "must be a mapping of keys, not 'random' (str)"),
        ("default_router: sttic\n", 1, "default_router", "no router is named 'sttic'; did you mean 'static'?"),
        ("\ndefault_policy: x\n", 2, "default_policy", "no policy is named 'x'. Known: none."),
        ("policies:\n  a: {}\n", 2, "policies.a", "set exactly one of threshold and strong_share"),
        ("policies:\n  a: {threshold: 1, strong_share: 1}\n", 2, "policies.a", "set exactly one of"),
        ("policies:\n  a: {threshold: .nan}\n", 2, "policies.a", "threshold must be from 0 to 1, not nan"),
        ("policies:\n  a: {threshold: 1.01}\n", 2, "policies.a", "threshold must be from 0 to 1, not 1.01"),
        ("policies:\n  a: {strong_share: -0.1}\n", 2, "policies.a", "strong_share must be from 0 to 1, not -0.1"),
        ("models: {strong: a, weak: a}\n", 1, "models", "the strong and the weak model are both 'a'"),
        ("models: {strong: a, weak: ''}\n", 1, "models", "must not be empty"),
        ("models: {strong: a}\n", 1, "models", "lacks the key 'weak'"),
        ("fallback: {on_router_error: stron}\n", 1, "fallback.on_router_error", "did you mean 'strong'?"),
        ("server:\n  workers: 0\n", 2, "server", "workers must be from 1 to 256"),
        (
            "server:\n  limits: {max_prompt_bytes: 0}\n",
            2,
            "server.limits",
            "max_prompt_bytes must be from 1 to 2147483647",
        ),
        ("server:\n  limits: {max_message_bytes: 9}\n", 2, "server.limits", "must be larger than max_prompt_bytes"),
        ("server:\n  shutdown: {grace_seconds: .inf}\n", 2, "server.shutdown", "grace_seconds must be from 0 to 3600"),
        ("observability:\n  log_level: INFO\n", 2, "observability.log_level", "debug, info, warning, error"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(text: str, line: int, where: str, problem: str) -> None:
    error = refusal(text)
    assert (error.source, error.line, error.where) == ("routing.yaml", line, where)
    assert problem in error.problem


def test_a_policy_of_an_unknown_router_is_told_with_its_own_line_and_key() -> None:
    error = refusal("policies:\n  good: {threshold: 0.5}\n  bad:\n    threshold: 0.5\n    router: sttic\n")
    assert "no router is named 'sttic'; did you mean 'static'?" in error.problem
    assert (error.line, error.where) == (5, "policies.bad.router")


@pytest.mark.parametrize("text", ["policies:\n", "routers:\n", "server:\n", "fallback:\n", "models:\n"])
def test_a_section_whose_keys_are_all_commented_out_is_as_good_as_none(text: str) -> None:
    assert parse(text) == parse("")


def test_a_router_s_relative_path_starts_at_the_file(tmp_path: Path) -> None:
    from routing_service.routers.static import StaticOptions

    (tmp_path / "routing.yaml").write_text(
        "routers: {static: {type: static, artifact: artifacts/mine, calibration: tables/mine.json}}"
    )
    router = load_config(tmp_path / "routing.yaml").routers["static"]
    options = router.section.parse(StaticOptions, ignore=ROUTER_KEYS)
    assert options.artifact == tmp_path / "artifacts" / "mine"
    assert router.calibration == tmp_path / "tables" / "mine.json"


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver: {workers: 2}\n")
    assert load_config(path).server.workers == 2


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), (b"a: \xff", "it is not UTF-8 text")])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "routing.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"routing\.yaml: cannot be read: {problem}"):
        load_config(path)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("address: localhost", "address: 'localhost' is not an address: it has no port; write localhost:50051"),
        ("address: host:99999", "'99999' is not a port from 0 to 65535"),
        ("address: 'http://127.0.0.1:50051'", "it is a URL; write 127.0.0.1:50051, without http://"),
        ("address: 'unix:'", "it names no file; write unix:PATH"),
        ("{address: 'unix:/x.sock', workers: 2}", "workers must be 1 with unix:/x.sock"),
        ("metrics_address: 'unix:/x.sock'", "metrics_address: 'unix:/x.sock' is a socket; write HOST:PORT"),
        ("metrics_address: ''", "metrics_address: the address is empty"),
        ("{metrics_address: '127.0.0.1:65535', workers: 2}", "the last would be above 65535"),
    ],
)
def test_a_wrong_address_is_answered_with_what_to_write(server: str, problem: str) -> None:
    error = refusal(f"server: {server}\n" if server.startswith("{") else f"server:\n  {server}\n")
    assert error.where == "server"
    assert problem in str(error)


def test_a_socket_is_relative_to_the_file_that_names_it() -> None:
    assert parse("server: {address: 'unix:run/x.sock'}\n").server.address == "unix:/etc/routing/run/x.sock"
    assert parse("server: {address: 'unix:///x.sock'}\n").server.address == "unix:/x.sock"


def test_a_socket_whose_whole_path_is_too_long_is_refused() -> None:
    error = refusal(f"server: {{address: 'unix:{'x' * 100}'}}\n")
    assert "the path has more than" in str(error)


def test_the_last_workers_metrics_may_have_the_last_port() -> None:
    assert ServerConfig(metrics_address="127.0.0.1:65534", workers=2).workers == 2


def test_host_and_port_are_split() -> None:
    assert split_address("[::1]:0") == ("::1", 0)
    with pytest.raises(ValueError, match="is a socket"):
        split_address("unix:/x")
