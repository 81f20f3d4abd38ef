"""ONNX Runtime sessions: execution providers, threads, graph optimization, for routers and embedders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort
import structlog

from routing_service.artifacts.graphs import check_graph
from routing_service.errors import ArtifactError, ServerError, unknown_name

log = structlog.get_logger(__name__)

CPU = "CPUExecutionProvider"
_LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How ONNX Runtime runs the graph of a router or an embedder.

    Example:
        routers:
          static: {type: static, threads: 2, providers: [CUDAExecutionProvider, CPUExecutionProvider]}
    """

    providers: tuple[str, ...] = (CPU,)
    """Execution providers by ONNX Runtime's names, the preferred one first, e.g. CUDAExecutionProvider."""
    provider_options: dict[str, dict[str, str | int | float | bool]] = field(default_factory=dict)
    """Options of the providers, by name, e.g. `{CUDAExecutionProvider: {device_id: 0}}`."""
    missing_provider: Literal["error", "warn"] = "error"
    """When a provider is not available: `error` refuses to start, `warn` logs a warning and uses the others."""
    threads: int = 1
    """How many cores one run may use. 0 uses all cores. At least 0."""
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    """How much ONNX Runtime optimizes the graph when it loads it."""

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError("threads must be 0 (all cores) or more")
        if not self.providers:
            raise ValueError(f"providers must name at least one, e.g. [{CPU}]")
        for name in self.provider_options:
            if name not in self.providers:
                raise ValueError(f"provider_options: {unknown_name('wanted provider', name, self.providers)}")


def open_session(graph: Path, config: SessionConfig, operators: Collection[str] = ()) -> ort.InferenceSession:
    """Open a graph whose hash was checked. External data files are read from its folder.

    Args:
        graph: the file.
        config: how it is run.
        operators: those with a graph inside, such as `Scan`, that the router's type needs; see `check_graph`.

    Raises:
        ServerError: a wanted execution provider is missing and the configuration says that this is an error.
        ArtifactError: `check_graph` or ONNX Runtime refuses the graph.
    """
    check_graph(graph, operators)
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _LEVELS[config.graph_optimization]
    options.log_severity_level = 3  # errors only; everything else is noise on stderr
    providers = [(name, dict(config.provider_options.get(name, {}))) for name in _available(config)]
    try:
        session = ort.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:
        raise ArtifactError(graph, f"cannot be loaded by ONNX Runtime {ort.__version__}: {error}") from error
    _check_in_use(session, config)
    return session


def _available(config: SessionConfig) -> list[str]:
    there = ort.get_available_providers()
    missing = [name for name in config.providers if name not in there]
    if missing:
        _missing(missing, there, config)
    found = [name for name in config.providers if name in there]
    return found or [CPU]


def _check_in_use(session: ort.InferenceSession, config: SessionConfig) -> None:
    """Check again: a provider may fail to start (e.g. without a driver), and ONNX Runtime then ignores it silently."""
    used = session.get_providers()
    if lost := [name for name in _available(config) if name not in used]:
        _missing(lost, used, config)


def _missing(names: list[str], there: list[str], config: SessionConfig) -> None:
    problem = (
        f"execution provider {', '.join(names)} is not available here, only {', '.join(there)}; install the ONNX "
        "Runtime that has it, take it out of `providers`, or set `missing_provider: warn`"
    )
    if config.missing_provider == "error":
        raise ServerError(problem)
    log.warning("execution_provider_missing", missing=names, available=there)


def session_io(session: ort.InferenceSession) -> tuple[dict[str, Any], dict[str, Any]]:
    """The types of a session's inputs and outputs by name, to check that it is the right kind of graph."""
    return (
        {node.name: node.type for node in session.get_inputs()},
        {node.name: node.type for node in session.get_outputs()},
    )
