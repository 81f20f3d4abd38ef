"""RouteLLM's configuration in our form, for an error message that shows what to write."""

from __future__ import annotations

from typing import Any

import yaml

# The keys of a router in RouteLLM's file (routellm/controller.py and config.example.yaml of 0.2.0).
_CHECKPOINT = "checkpoint_path"
_BATTLES, _EMBEDDINGS = "arena_battle_datasets", "arena_embedding_datasets"
# The routers that need a prompt's embedding; RouteLLM always takes it from OpenAI.
_EMBEDDED = ("mf", "sw_ranking")
_NAMES = ("mf", "bert", "causal_llm", "sw_ranking", "random")


def translation(text: str) -> str | None:
    """The commands and the configuration for RouteLLM's YAML `text`; None if it is not RouteLLM's."""
    try:
        found = yaml.safe_load(text)
    except Exception:  # beside YAMLError, odd tags raise what they like
        return None
    if not isinstance(found, dict) or not found or not set(found) <= set(_NAMES):
        return None
    routers = {name: options if isinstance(options, dict) else {} for name, options in found.items()}
    if not any(_CHECKPOINT in options or _BATTLES in options for options in routers.values()):
        return None
    commands = [command for name, options in routers.items() if (command := _export(name, options))]
    lines = ["routers:", *(f"  {name}: {_router(name)}" for name in routers)]
    if any(name in _EMBEDDED for name in routers):
        lines += ["embedders:", "  openai: {type: openai, model: text-embedding-3-small, api_key_env: OPENAI_API_KEY}"]
    return "\n".join([*commands, "", *lines])


def _export(name: str, options: dict[str, Any]) -> str:
    if name == "sw_ranking":
        battles, embeddings = (_words(options.get(key, "...")) for key in (_BATTLES, _EMBEDDINGS))
        return f"export-onnx sw_ranking --battles {battles} --embeddings {embeddings} --output artifacts/sw_ranking"
    if name == "random":
        return ""
    return f"export-onnx {name} --checkpoint {_words(options.get(_CHECKPOINT, '...'))} --output artifacts/{name}"


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _router(name: str) -> str:
    if name == "random":
        return "{type: random}"
    embedder = ", embedder: openai" if name in _EMBEDDED else ""
    return f"{{type: {name}, artifact: artifacts/{name}{embedder}}}"
