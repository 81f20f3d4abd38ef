"""RouteLLM's own `bert` and `causal_llm` routers as a process that scores prompts and times itself.

It is run by a Python that has `routellm==0.2.0`, torch and transformers, and nothing of this project. Each line of
standard input is a JSON text; each is answered by a JSON object with `win_rate` and `seconds`. RouteLLM asks for CUDA,
the hub and an API key even if not needed: here the model stays on the CPU, in the wanted type, and all files are
local.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("routellm", "torch", "transformers")


def load_router(kind: str, checkpoint: Path, dtype: str) -> Any:
    """RouteLLM's router of that kind, with the model of the folder `checkpoint`."""
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    routers: Any = import_module("routellm.routers.routers")
    if kind == "bert":
        return routers.BERTRouter(str(checkpoint))
    routers.hf_hub_download = lambda repo_id, filename: str(Path(repo_id) / filename)
    model_module: Any = import_module("routellm.routers.causal_llm.model")

    def get_model(config: Any, model_ckpt: str, **_: Any) -> Any:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            model_ckpt,
            dtype=getattr(torch, dtype),
            use_cache=False,
            attention_dropout=config.attention_dropout,
        )
        # RouteLLM uses the keyword above; transformers 5 takes it from generation_config instead.
        model.generation_config.use_cache = False
        return model

    def get_tokenizer(*_: Any, **__: Any) -> Any:
        return transformers.AutoTokenizer.from_pretrained(str(checkpoint))

    model_module.get_model, model_module.get_tokenizer = get_model, get_tokenizer
    for kind_of_value in (torch.nn.Module, torch.Tensor):
        _keep_on_cpu(kind_of_value)
    return routers.CausalLLMRouter(str(checkpoint))


def _keep_on_cpu(kind: Any) -> None:
    move = kind.to

    def to(self: Any, *arguments: Any, **options: Any) -> Any:
        return self if arguments == ("cuda",) else move(self, *arguments, **options)

    kind.to = to


def main() -> None:
    """Load, print one line, then answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("bert", "causal_llm"))
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        import_module("torch").set_num_threads(options.threads)
        router = load_router(options.kind, options.checkpoint, options.dtype)
    print(json.dumps({name: version(name) for name in LIBRARIES}), file=answers, flush=True)
    for line in sys.stdin:
        prompt = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            start = time.perf_counter()
            rate = float(router.calculate_strong_win_rate(prompt))
            seconds = time.perf_counter() - start
        print(json.dumps({"win_rate": rate, "seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
