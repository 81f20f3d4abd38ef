"""`bert` at xlm-roberta-base's size beside RouteLLM's BERTRouter: the same random weights, one thread each, one run."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.random_checkpoints import prompt_of, write_classifier
from benchmarks.text_routers import add_peer_arguments, measure, peer, report
from export_onnx.cli import main as export_onnx
from routing_service.artifacts.loading import open_artifact
from routing_service.routers.bert import BertRouter

TOKENS = (16, 64, 256)
SPECIAL_TOKENS = 2
TARGETS = {"ours fp32": 1.3, "ours int8": 3.0}
ROUTELLM = "RouteLLM"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--size", choices=("tiny", "base"), default="base", help="xlm-roberta's (default base)")
    add_peer_arguments(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Export, measure, print a table, and return its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = write_classifier(folder / "checkpoint", args.size)
        routers = {}
        for precision in ("fp32", "int8"):
            artifact = folder / precision
            command = ["bert", "--checkpoint", str(checkpoint), "--output", str(artifact)]
            if export_onnx([*command, *([] if precision == "fp32" else ["--quantize", precision])]):
                raise RuntimeError("the export failed; its message is above")
            routers[f"ours {precision}"] = BertRouter(open_artifact(artifact, "bert"))
        sides = {
            side: lambda text, router=router: router.score([text], router.models).strong_win_rates[0]
            for side, router in routers.items()
        }
        prompts = {
            tokens: [prompt_of(tokens - SPECIAL_TOKENS, seed) for seed in range(args.turns + 1)] for tokens in TOKENS
        }
        with peer(args.peer_python, "bert", checkpoint) as routellm:
            timings = measure(prompts, sides, {ROUTELLM: routellm})
            print(f"bert, xlm-roberta-{args.size}, random weights, one thread; peer: {dict(routellm.versions)}")
    return {"machine": describe(), **report(timings, list(sides), [ROUTELLM], TARGETS)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    main(parser.parse_args())
