"""`causal_llm` on a small random Llama beside RouteLLM's CausalLLMRouter: the same weights, one thread each, one run.

RouteLLM runs the whole prompt for each of six tokens (`use_cache=False`), in bfloat16. It is also measured in float32,
the type that ours uses.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.random_checkpoints import prompt_of, write_decoder
from benchmarks.text_routers import add_peer_arguments, measure, peer, report
from export_onnx.cli import main as export_onnx
from routing_service.artifacts.loading import open_artifact
from routing_service.routers.causal_llm import CausalLLMRouter

WORDS = (16, 64, 256)
TARGETS = {"ours fp32": 3.0}
FLOAT32, BFLOAT16 = "RouteLLM float32", "RouteLLM bfloat16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--size", choices=("tiny", "small", "1b"), default="small", help="the Llama's (default small)")
    add_peer_arguments(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Export, measure, print a table, and return its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = write_decoder(folder / "checkpoint", args.size)
        routers = {}
        for precision in ("fp32", "int8"):
            artifact = folder / precision
            command = ["causal_llm", "--checkpoint", str(checkpoint), "--output", str(artifact)]
            if export_onnx([*command, *([] if precision == "fp32" else ["--quantize", precision])]):
                raise RuntimeError("the export failed; its message is above")
            routers[f"ours {precision}"] = CausalLLMRouter(open_artifact(artifact, "causal_llm"))
        sides = {
            side: lambda text, router=router: router.score([text], router.models).strong_win_rates[0]
            for side, router in routers.items()
        }
        prompts = {words: [prompt_of(words, seed) for seed in range(args.turns + 1)] for words in WORDS}
        with (
            peer(args.peer_python, "causal_llm", checkpoint) as float32,
            peer(args.peer_python, "causal_llm", checkpoint, "--dtype", "bfloat16") as bfloat16,
        ):
            timings = measure(prompts, sides, {FLOAT32: float32, BFLOAT16: bfloat16})
            print(f"causal_llm, a {args.size} random Llama, one thread; peer: {dict(float32.versions)}")
    return {"machine": describe(), **report(timings, list(sides), [FLOAT32, BFLOAT16], TARGETS)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    main(parser.parse_args())
