"""`bert` and `causal_llm` on a GPU: parity with the CPU, and the time of batches, with random weights.

    pip install onnxruntime-gpu; python -m benchmarks.gpu            # whatever CUDA device there is
    python -m benchmarks.gpu --provider TensorrtExecutionProvider
    python -m benchmarks.gpu --provider CPUExecutionProvider --sizes tiny     # tries the script itself without a GPU

Checkpoints of a tiny and a real size are written and exported in float32 and float16, each with its parity proof. The
router is then loaded as in the server, its win rates are compared with those of float32 on the CPU, and
batches of 1, 8, 32 and 128 prompts of 16, 64 and 256 tokens are timed, with tokenization. int8 is for CPUs: CUDA
has no kernels for it. Exits with 1 if there is no such device or the win rates differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.machine import describe
from benchmarks.random_checkpoints import prompt_of, write_classifier, write_decoder
from export_onnx.cli import main as export_onnx
from export_onnx.parity import prove
from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.errors import RoutingServiceError, UsageError
from routing_service.routers.base import Router
from routing_service.routers.bert import BertRouter
from routing_service.routers.causal_llm import CausalLLMRouter

BATCHES, TOKENS = (1, 8, 32, 128), (16, 64, 256)
PRECISIONS = ("fp32", "fp16")
PARITY_PROMPTS = 32


@dataclass(frozen=True)
class _Kind:
    """`sizes` maps `tiny` and `real` to a size of `random_checkpoints`; `overhead` is the template's tokens."""

    write: Callable[..., Path]
    router: Callable[..., Router]
    sizes: dict[str, str]
    overhead: int


KINDS = {
    "bert": _Kind(write_classifier, BertRouter, {"tiny": "tiny", "real": "base"}, 2),
    "causal_llm": _Kind(write_decoder, CausalLLMRouter, {"tiny": "tiny", "real": "1b"}, 15),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--provider", default="CUDAExecutionProvider", help="ONNX Runtime's (default: %(default)s)")
    parser.add_argument("--device", type=int, default=0, metavar="N", help="the device's number (default: %(default)s)")
    parser.add_argument("--routers", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    parser.add_argument("--sizes", nargs="+", choices=("tiny", "real"), default=["tiny", "real"], help="default: both")
    parser.add_argument(
        "--runs", type=int, default=10, metavar="N", help="timed runs for each batch (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="F.json", help="also write the figures to this file")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Print tables and return their figures by router, size and precision.

    Raises:
        RoutingServiceError: there is no such device, or parity does not hold.
    """
    session = _session(args.provider, args.device)
    figures: dict[str, Any] = {"machine": describe(), "provider": args.provider, "routers": {}}
    for name in args.routers:
        for size in args.sizes:
            with tempfile.TemporaryDirectory() as folder:
                figures["routers"][f"{name} {size}"] = _measure(name, size, Path(folder), session, args.runs)
    if args.output:
        args.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _session(provider: str, device: int) -> SessionConfig:
    there = ort.get_available_providers()
    if provider not in there:
        raise UsageError(
            f"no {provider} here: this ONNX Runtime {ort.__version__} has {', '.join(there)}. For an NVIDIA GPU, "
            "install onnxruntime-gpu in onnxruntime's place, with the driver, CUDA and cuDNN that it names"
        )
    if provider == "CPUExecutionProvider":
        return SessionConfig()
    return SessionConfig(providers=(provider,), provider_options={provider: {"device_id": device}})


def _measure(name: str, size: str, folder: Path, session: SessionConfig, runs: int) -> dict[str, Any]:
    kind = KINDS[name]
    checkpoint = kind.write(folder / "checkpoint", kind.sizes[size])
    prompts = [prompt_of(3 + 7 * (seed % 20), seed) for seed in range(PARITY_PROMPTS)]
    reference: Sequence[float] = ()
    figures = {}
    for precision in PRECISIONS:
        artifact = folder / precision
        command = [name, "--checkpoint", str(checkpoint), "--output", str(artifact)]
        if export_onnx([*command, *([] if precision == "fp32" else ["--quantize", precision])]):
            raise UsageError(f"{name}: the export failed; its message is above")
        opened = open_artifact(artifact, name)
        if precision == "fp32":
            on_cpu = kind.router(opened, session=SessionConfig(threads=0))
            reference = on_cpu.score(prompts, on_cpu.models).strong_win_rates
        router = kind.router(opened, session=session)
        parity = prove(reference, router.score(prompts, router.models).strong_win_rates, precision)
        print(f"\n{name}, {size}, {precision}: {parity.max_difference:.2g} at most from float32 on the CPU")
        figures[precision] = {"parity": parity.as_dict(), "ms": _time(router, kind.overhead, runs)}
    return figures


def _time(router: Router, overhead: int, runs: int) -> dict[str, dict[str, float]]:
    print(f"{'batch':>6} {'tokens':>7} {'ms':>10} {'prompts/s':>11}")
    medians: dict[str, dict[str, float]] = {}
    for batch in BATCHES:
        for tokens in TOKENS:
            prompts = [prompt_of(max(1, tokens - overhead), seed) for seed in range(batch)]
            router.score(prompts, router.models)  # the first run of a shape may choose kernels
            taken = []
            for _ in range(runs):
                start = time.perf_counter()
                router.score(prompts, router.models)
                taken.append((time.perf_counter() - start) * 1e3)
            median = float(np.round(statistics.median(taken), 3))
            medians.setdefault(str(batch), {})[str(tokens)] = median
            print(f"{batch:>6} {tokens:>7} {median:>10.2f} {batch / median * 1e3:>11,.0f}")
    return medians


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    try:
        main(parser.parse_args())
    except RoutingServiceError as error:
        sys.exit(f"benchmarks.gpu: error: {error}")
