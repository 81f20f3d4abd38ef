"""What an evaluation finds."""

from __future__ import annotations

from dataclasses import dataclass

from routing_lab.evals.benchmarks import PairedBenchmark
from routing_lab.evals.curves import BootstrapResult
from routing_lab.evals.metrics import Float64, ReliabilityBin
from routing_lab.evals.provenance import Exposure, Sample
from routing_lab.evals.robustness import Robustness
from routing_lab.evals.routellm_metrics import RouteLLMMetrics
from routing_service.models import ModelPair


@dataclass(frozen=True, slots=True)
class ExactMetrics:
    """APGR and CPT of the exact curve, the curve's quality at each of `BAND_SHARES`, and their intervals.

    Of a router of chance the means over its runs. NaN where there is no gap.
    """

    apgr: float
    cpt: dict[float, float]
    quality: Float64
    intervals: BootstrapResult


@dataclass(frozen=True, slots=True)
class ProbabilityMetrics:
    """How good win rates are as probabilities that the strong model wins, a tie counting half.

    `log_loss` is in nats, beside that of always saying the mean outcome; `bins` are ten of equally many prompts.
    """

    log_loss: float
    log_loss_of_constant: float
    calibration_error: float
    bins: list[ReliabilityBin]


@dataclass(frozen=True, slots=True)
class RouterResult:
    """One router on one benchmark.

    `models` are what its win rates are for; `own_pair` says that it knows no other pair and that
    the benchmark's is another. `cached` of the distinct prompts' rates came from the cache. `runs` is 1 for a router
    that gives a prompt the same rate every time. `robustness` is None where it was not asked for, or where the same
    prompt may get another rate.
    """

    name: str
    type: str
    revision: str
    models: ModelPair
    own_pair: bool
    runs: int
    cached: int
    distinct_rates: int
    routellm: RouteLLMMetrics
    exact: ExactMetrics
    probabilities: ProbabilityMetrics
    sample: Sample
    robustness: Robustness | None


@dataclass(frozen=True, slots=True)
class Reference:
    """A line to compare with: APGR, CPT and quality at each of `BAND_SHARES`."""

    apgr: float
    cpt: dict[float, float]
    quality: Float64


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One benchmark: the pair's scores, chance and the best there can be, and each router."""

    paired: PairedBenchmark
    strong_quality: float
    weak_quality: float
    random: Reference
    optimal: Reference
    routers: list[RouterResult]

    @property
    def in_sample(self) -> bool:
        """Whether a router has learnt from some of these prompts."""
        return any(router.sample.exposure is Exposure.IN_SAMPLE for router in self.routers)
