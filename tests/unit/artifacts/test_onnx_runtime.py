"""What reaches ONNX Runtime of the configuration, and providers that are missing or fail to start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
import structlog

from routing_service.artifacts import onnx_runtime
from routing_service.artifacts.onnx_runtime import CPU, SessionConfig, open_session
from routing_service.errors import ArtifactError, ServerError

CUDA, ROCM = "CUDAExecutionProvider", "ROCMExecutionProvider"
GRAPH = Path("model.onnx")
BOTH = SessionConfig(providers=(CUDA, CPU))


class FakeSession:
    """Keeps what it is opened with. `started` are the providers that do start, None for all that are wanted."""

    started: list[str] | None = None
    opened: list[FakeSession]

    def __init__(self, path: str, options: Any, providers: list[tuple[str, dict[str, Any]]]) -> None:
        self.path, self.options, self.providers = path, options, providers
        self.opened.append(self)

    def get_providers(self) -> list[str]:
        return [name for name, _ in self.providers if self.started is None or name in self.started]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """An ONNX Runtime with CUDA, and a graph that needs no file."""
    monkeypatch.setattr(onnx_runtime, "check_graph", lambda graph, operators: None)  # noqa: ARG005 - its names
    monkeypatch.setattr(FakeSession, "opened", [], raising=False)
    monkeypatch.setattr(FakeSession, "started", None)
    monkeypatch.setattr(ort, "InferenceSession", FakeSession)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    return FakeSession


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_the_threads_are_those_of_one_run(runtime: type[FakeSession], threads: int) -> None:
    open_session(GRAPH, SessionConfig(threads=threads))
    (opened,) = runtime.opened
    assert (opened.options.intra_op_num_threads, opened.options.inter_op_num_threads) == (threads, 1)
    assert opened.path == "model.onnx"


@pytest.mark.parametrize(
    ("level", "wanted"),
    [("disabled", "DISABLE_ALL"), ("basic", "ENABLE_BASIC"), ("extended", "ENABLE_EXTENDED"), ("all", "ENABLE_ALL")],
)
def test_the_graph_is_optimized_as_configured(runtime: type[FakeSession], level: Any, wanted: str) -> None:
    open_session(GRAPH, SessionConfig(graph_optimization=level))
    level_given = runtime.opened[0].options.graph_optimization_level
    assert level_given == getattr(ort.GraphOptimizationLevel, f"ORT_{wanted}")


def test_by_default_one_core_runs_the_optimized_graph_and_says_little(runtime: type[FakeSession]) -> None:
    open_session(GRAPH, SessionConfig())
    (opened,) = runtime.opened
    assert opened.providers == [(CPU, {})]
    assert opened.options.intra_op_num_threads == 1
    assert opened.options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert opened.options.log_severity_level == 3


def test_providers_keep_their_order_and_their_own_options(runtime: type[FakeSession]) -> None:
    open_session(GRAPH, SessionConfig(providers=(CUDA, CPU), provider_options={CUDA: {"device_id": 1}}))
    assert runtime.opened[0].providers == [(CUDA, {"device_id": 1}), (CPU, {})]
    open_session(GRAPH, SessionConfig(providers=(CPU, CUDA)))
    assert runtime.opened[1].providers == [(CPU, {}), (CUDA, {})]


def test_a_provider_that_is_not_there_refuses_the_start(runtime: type[FakeSession]) -> None:
    with pytest.raises(ServerError) as caught:
        open_session(GRAPH, SessionConfig(providers=(ROCM, CPU)))
    assert f"execution provider {ROCM} is not available here, only {CUDA}, {CPU}" in str(caught.value)
    assert "missing_provider: warn" in str(caught.value)
    assert not runtime.opened


@pytest.mark.parametrize(("wanted", "used"), [((ROCM, CUDA), [CUDA]), ((ROCM, CPU), [CPU]), ((ROCM,), [CPU])])
def test_or_it_is_left_out_with_a_warning(runtime: type[FakeSession], wanted: tuple[str, ...], used: list[str]) -> None:
    with structlog.testing.capture_logs() as logs:
        open_session(GRAPH, SessionConfig(providers=wanted, missing_provider="warn"))
    assert [name for name, _ in runtime.opened[0].providers] == used
    assert logs[0]["event"] == "execution_provider_missing"
    assert (logs[0]["missing"], logs[0]["available"]) == ([ROCM], [CUDA, CPU])


def test_a_provider_that_fails_to_start_is_one_that_is_missing(
    runtime: type[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime opens the session without it and says nothing that a program could read."""
    monkeypatch.setattr(runtime, "started", [CPU])
    with pytest.raises(ServerError, match=f"execution provider {CUDA} is not available here, only {CPU};"):
        open_session(GRAPH, BOTH)
    with structlog.testing.capture_logs() as logs:
        open_session(GRAPH, SessionConfig(providers=(CUDA, CPU), missing_provider="warn"))
    assert [(entry["event"], entry["missing"], entry["available"]) for entry in logs] == [
        ("execution_provider_missing", [CUDA], [CPU])
    ]


def test_one_that_raises_is_told_with_the_graph(runtime: type[FakeSession], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(ort, "InferenceSession", fail)
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be loaded by ONNX Runtime .*: no driver"):
        open_session(GRAPH, BOTH)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threads": -1}, "threads must be 0"),
        ({"providers": ()}, "providers must name at least one"),
        ({"provider_options": {CUDA: {}}}, "wanted provider"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SessionConfig(**options)


def test_a_real_session_has_them(static_artifact: Path) -> None:
    options = open_session(
        static_artifact / "model.onnx", SessionConfig(threads=3, graph_optimization="basic")
    ).get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
