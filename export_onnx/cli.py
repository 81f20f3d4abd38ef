"""`export-onnx`: checkpoints to artifacts, each export in a module of its own that is imported when it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from routing_service.cli import show_any_text
from routing_service.errors import RoutingServiceError
from routing_service.extras import require

# The exit codes of `routing-service`: something is wrong, and wrong usage (argparse's).
FAILURE = 1


@dataclass(frozen=True, slots=True)
class _Export:
    """One subcommand. Its module has `add_arguments(parser)`, for its own options, and `run(options)`: the report.

    The module can be imported without `packages`, which the extra `export` brings: help is there without it.
    """

    name: str
    summary: str
    example: str
    has_checkpoint: bool = True
    has_models: bool = True
    packages: tuple[str, ...] = ("torch", "transformers", "onnx", "safetensors", "huggingface_hub")

    @property
    def module(self) -> str:
        return f"export_onnx.{self.name}"


_EXPORTS = (
    _Export(
        "mf",
        "RouteLLM's matrix factorization.",
        "export-onnx mf --checkpoint routellm/mf_gpt4_augmented --output artifacts/mf",
        packages=("onnx", "safetensors"),
    ),
    _Export(
        "bert",
        "A BERT-like sequence classifier.",
        "export-onnx bert --checkpoint routellm/bert_gpt4_augmented --output artifacts/bert --quantize int8",
    ),
    _Export(
        "causal_llm",
        "A Llama that rates prompts from 1 to 5.",
        "export-onnx causal_llm --checkpoint checkpoints/causal_llm --output artifacts/causal_llm --quantize fp16",
    ),
    _Export(
        "sw_ranking",
        "Battles and their embeddings, for similarity-weighted ranking.",
        "export-onnx sw_ranking --battles battles.parquet --embeddings vectors.parquet --output artifacts/sw_ranking",
        has_checkpoint=False,
        has_models=False,
        packages=("onnx",),
    ),
    _Export(
        "encoder",
        "A sentence encoder, for the `onnx` embedder.",
        "export-onnx encoder --checkpoint sentence-transformers/all-MiniLM-L6-v2 --output artifacts/minilm",
        has_models=False,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, 1 when something is wrong, 2 for wrong usage."""
    show_any_text()
    try:
        options = _parser().parse_args(arguments)
        require("exporting", "routing-service", "export", *options.export.packages)
        print(import_module(options.export.module).run(options))
    except RoutingServiceError as error:
        return _complain(str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; there is nobody to tell
        return FAILURE
    except KeyboardInterrupt:
        return _complain("interrupted")
    return 0


def _complain(message: str) -> int:
    print(f"export-onnx: error: {message}", file=sys.stderr)
    return FAILURE


class _Parser(argparse.ArgumentParser):
    """Says what is wrong first and names the help; a subcommand's own options are added when it is asked for."""

    export: _Export | None = None

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.export is not None:
            import_module(self.export.module).add_arguments(self)
        return super().parse_known_args(args, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="export-onnx",
        description="Convert a router's checkpoint to an artifact for routing-service, and prove that both "
        "give the same win rates.",
        epilog=f"Example: {_EXPORTS[1].example}",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('routing-service')}")
    commands = parser.add_subparsers(title="routers", required=True, metavar="TYPE", parser_class=_Parser)
    for export in _EXPORTS:
        _add_export(commands, export)
    return parser


def _add_export(commands: Any, export: _Export) -> None:
    parser: _Parser = commands.add_parser(
        export.name, help=export.summary, description=export.summary, epilog=f"Example: {export.example}"
    )
    parser.set_defaults(export=export)
    parser.export = export
    if export.has_checkpoint:
        parser.add_argument(
            "--checkpoint",
            required=True,
            metavar="DIR",
            help="the folder that save_pretrained wrote, with safetensors, or a Hugging Face id",
        )
        from export_onnx.quantize import add_quantize_argument

        add_quantize_argument(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the artifact's folder; replaced whole"
    )
    if export.has_models:
        parser.add_argument(
            "--strong-model", metavar="M", help="the strong model (default: that of RouteLLM's routers)"
        )
        parser.add_argument("--weak-model", metavar="M", help="the weak model (default: that of RouteLLM's routers)")


if __name__ == "__main__":
    sys.exit(main())
