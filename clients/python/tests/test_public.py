from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
from dataclasses import fields
from enum import EnumMeta
from pathlib import Path
from types import FunctionType
from typing import Any

import hypothesis.strategies as st
import pytest
import routing_client
from hypothesis import given
from routing_client import CalibrationPoint, CalibrationTable, exceptions, testing
from routing_client.proto import decision_pb2, routing_service_pb2
from routing_gateway.echo import serve_echo


def test_exported_members() -> None:
    assert routing_client.__all__ == sorted(routing_client.__all__)
    for name in routing_client.__all__:
        assert getattr(routing_client, name) is not None
    reachable = {name for name in vars(routing_client) if not name.startswith("_")}
    modules = {name for name in reachable if type(getattr(routing_client, name)).__name__ == "module"}
    assert reachable - modules == set(routing_client.__all__)


def test_every_exception_and_result_is_exported() -> None:
    from routing_client import types

    own = set(types.__all__)
    assert types.__all__ == sorted(types.__all__)
    assert own >= {name for name, value in vars(types).items() if getattr(value, "__module__", "") == types.__name__}
    assert own | set(exceptions.__all__) <= set(routing_client.__all__)


def test_testing_exports() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__doc__


def test_public_things_are_documented() -> None:
    for name in routing_client.__all__:
        value = getattr(routing_client, name)
        if isinstance(value, type | EnumMeta):
            assert value.__doc__, name


def test_the_drawn_exception_tree_is_the_real_one() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for match in re.finditer(r"^( *(?:[│├└─] *)*)(\w+Error)\b", exceptions.__doc__ or "", re.MULTILINE):
        depth = len(match[1].strip(" ")) and len(match[1]) // 4
        path[depth - 1 if match[1].strip() else 0 :] = [match[2]]
        drawn[match[2]] = path[-2] if len(path) > 1 else "Exception"
    real = {name: getattr(exceptions, name).__base__.__name__ for name in exceptions.__all__ if name.endswith("Error")}
    assert drawn == real


def test_starred_exceptions_are_the_outages() -> None:
    starred = set(re.findall(r"(\w+Error) +\(\*\)", exceptions.__doc__ or ""))
    outages = {
        name
        for name in exceptions.__all__
        if name.endswith("Error") and issubclass(getattr(exceptions, name), exceptions.OUTAGES)
    }
    assert starred == outages


def test_this_client_knows_every_value_of_its_own_protos() -> None:
    from routing_client import _parse

    for field, wire in (
        ("tier", decision_pb2.Tier),
        ("reason", decision_pb2.DecisionReason),
        ("source", decision_pb2.ScoreSource),
    ):
        for number in wire.values()[1:]:
            message = decision_pb2.Decision()
            setattr(message, field, number)
            assert getattr(_parse.decision(message), field).name == wire.Name(number).rpartition("_")[2]
        beyond = decision_pb2.Decision()
        setattr(beyond, field, max(wire.values()) + 1)
        assert getattr(_parse.decision(beyond), field) == "unknown"
    for number in decision_pb2.ExclusionReason.values()[1:]:
        message = decision_pb2.Decision()
        message.candidates.add().excluded_by.extend([number, 99])  # type: ignore[list-item] # a newer server's
        (known, unknown) = _parse.decision(message).candidates[0].excluded_by
        assert decision_pb2.ExclusionReason.Name(number) == f"EXCLUSION_REASON_{known}"
        assert unknown == "UNKNOWN_99"


def test_every_field_of_a_decision_is_the_clients_too() -> None:
    from routing_client import types

    for message, kind in (
        (decision_pb2.Decision, types.Decision),
        (decision_pb2.Candidate, types.Candidate),
        (decision_pb2.Asked, types.Asked),
        (decision_pb2.Span, types.Span),
        (decision_pb2.Influence, types.Influence),
        (decision_pb2.Explanation, types.Explanation),
        (decision_pb2.Timing, types.Timing),
        (routing_service_pb2.Requirements, types.Requirements),
    ):
        assert {field.name for field in fields(kind)} == {field.name for field in message.DESCRIPTOR.fields}, kind


def test_importing_is_light() -> None:
    # Named one by one: what `import grpc` itself picks up from its surroundings is no doing of ours.
    heavy = {"numpy", "onnxruntime", "pandas", "pydantic", "pyarrow", "structlog", "tokenizers", "torch", "yaml"}
    heavy |= {"aiohttp", "httpx", "httpx2", "litellm", "openai", "prometheus_client", "starlette", "uvicorn"}
    folder = str(Path(routing_client.__file__).parent.parent)
    program = f"""
import sys
sys.path.insert(0, {folder!r})
import routing_client, routing_client.testing
import routing_client.costs, routing_client.dispatch, routing_client.endpoints, routing_client.model_names
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603 (our own interpreter and program)
    assert "routing_client.testing" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {*heavy, "routing_service"}


def test_what_only_reads_text_comes_without_grpc() -> None:
    """The service's configuration and embedders use it, and no more of the client."""
    program = "import sys, routing_client.proxies, routing_client.targets; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603 (our own interpreter and program)
    assert "routing_client.targets" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"grpc", "google"}


def test_names_are_found_when_they_are_used() -> None:
    assert routing_client.exceptions.RoutingError is routing_client.RoutingError
    assert set(routing_client.__all__) <= set(dir(routing_client))
    with pytest.raises(AttributeError, match="no attribute 'RoutingClint'"):
        routing_client.RoutingClint  # noqa: B018 (it raises)


shares = st.floats(0, 1)
points = st.lists(st.tuples(st.floats(0.01, 0.99), shares), min_size=1, max_size=20, unique_by=lambda point: point[0])


@given(points, shares, shares)
def test_a_higher_share_never_has_a_higher_threshold(
    table: list[tuple[float, float]], one: float, other: float
) -> None:
    by_share = sorted(share for share, _ in table)
    falling = sorted((threshold for _, threshold in table), reverse=True)
    made = CalibrationTable("sample", 1, tuple(CalibrationPoint(s, t) for s, t in zip(by_share, falling, strict=True)))
    low, high = sorted((one, other))
    assert made.threshold_for(low) >= made.threshold_for(high) - 1e-12
    assert (made.threshold_for(0), made.threshold_for(1)) == (1.0, 0.0)
    for point in made.points:
        assert made.threshold_for(point.strong_share) == point.threshold


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        CalibrationTable("sample", 1, ()).threshold_for(share)


@pytest.mark.parametrize("module", ["routing_client.openai", "routing_client.controller"])
def test_without_its_extra_a_module_says_what_to_install(module: str) -> None:
    folder = str(Path(routing_client.__file__).parent.parent)
    program = f"""
import sys
sys.path.insert(0, {folder!r})
sys.modules["openai"] = None
from routing_client._extras import MissingExtraError
try:
    import {module}
except MissingExtraError as error:
    print(error)
"""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own interpreter and program)
    assert "pip install 'routing-client[openai]'" in printed


def test_the_modules_beside_the_client_say_what_they_offer() -> None:
    from routing_client import controller, costs, dispatch, endpoints, flow, model_names, openai

    for module in (controller, costs, dispatch, endpoints, flow, model_names, openai):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type | FunctionType):
                assert value.__doc__, name


def test_the_generated_code_has_a_public_name() -> None:
    """All of it, so that nobody has to reach into `_gen`, and its imports name no other place."""
    from routing_client import proto

    assert proto.__all__ == sorted(proto.__all__)
    folder = Path(routing_client.__file__).parent / "_gen" / "llmrouting" / "v1"
    made = {path.stem for path in folder.glob("*_pb2*.py")}
    assert made == set(proto.__all__)
    for name in made:
        assert getattr(proto, name).__name__ == f"routing_client._gen.llmrouting.v1.{name}"


def test_the_gateways_old_place_says_where_it_went() -> None:
    sys.modules.pop("routing_client.gateway", None)
    with pytest.raises(ImportError, match=r"pip install routing-gateway .*\./gateway.*import routing_gateway"):
        importlib.import_module("routing_client.gateway")


def test_the_readmes_examples_work(monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(routing_client.__file__).parent.parent / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 7
    with testing.fake_server() as target, serve_echo() as echo:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-readme")
        monkeypatch.setenv("OPENAI_BASE_URL", echo.base_url)
        code = "\n".join(blocks).replace("127.0.0.1:50051", target).replace("router:50051", target)
        code = code.replace("https://api.openai.com/v1", echo.base_url)
        scope: dict[str, Any] = {}
        exec(compile(code, "README.md", "exec"), scope)  # noqa: S102 (our own README)
        asyncio.run(scope["main"]())
        assert len(echo.state.requests) == 2
        for name in ("client", "routed", "controller"):
            scope[name].close()
