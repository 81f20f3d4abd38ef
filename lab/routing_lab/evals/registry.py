"""Benchmarks by name: RouteLLM's three, those that installed packages add, and any file of labelled rows."""

from __future__ import annotations

from pathlib import Path

from routing_lab.evals.benchmarks import Benchmark, BenchmarkData, unknown_benchmark
from routing_lab.evals.file_benchmark import FileBenchmark
from routing_service.asks.reader import AskReader
from routing_service.errors import ConfigError, RoutingServiceError, UsageError
from routing_service.plugins import Plugins
from routing_service.rows.formats import SUFFIXES, suffix_of
from routing_service.yaml_sections import Section

BENCHMARKS: Plugins[Benchmark] = Plugins(
    kind="benchmark",
    group="routing_service.benchmarks",
    base=Benchmark,  # type: ignore[type-abstract] # only ever compared with
    shipped={
        "mmlu": "routing_lab.evals.routellm_benchmarks:Mmlu",
        "gsm8k": "routing_lab.evals.routellm_benchmarks:Gsm8k",
        "mt-bench": "routing_lab.evals.routellm_benchmarks:MtBench",
    },
)


def load_benchmark(name: str, data: Path | None, asks: AskReader | None = None) -> BenchmarkData:
    """The benchmark of that name, or the file of that path: what is there, or named as rows are.

    Args:
        name: what `--benchmark` says.
        data: the folder that `--data` names.
        asks: reads what a file's rows ask; by default as a service does that is configured no other way.

    Raises:
        UsageError: there is none, its package is broken, or what it reads is missing or wrong.
    """
    if name not in (known := BENCHMARKS.names()):
        if Path(name).is_file() or suffix_of(Path(name)) in SUFFIXES:
            return FileBenchmark(Path(name), asks or AskReader()).load()
        raise unknown_benchmark(name, known)
    try:
        kind = BENCHMARKS.find(name, Section("--benchmark", Path(), "", None))
        return kind().load(data)
    except ConfigError as error:
        raise UsageError(f"--benchmark: {error.problem}") from error
    except RoutingServiceError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"--benchmark {name}: cannot be loaded: {why}; report it to its package") from error
