"""What is known about the public preference sources: which models stand for strong and weak, and their licences.

No source but two scores the default pair itself, so elsewhere other models stand in: the stand-ins' gap in score says
which *kinds* of prompt a stronger model helps with, which is most of what a router can learn from a prompt alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """How rows of one source are read.

    `strong` and `weak` are stand-ins for a pair that the row does not score, in the names of `canonical_model`; a row's
    score for a side is the mean over those present, and a row without either side is not used. `drop_unsolved` leaves
    out rows that every model scored 0 on: what small models all fail at is no tie between larger ones. `weight` is the
    relative weight of a row in training, by cross-validation on the dev halves of MMLU and GSM8K. `calibrates` says
    that the rows score the pair itself, so that scores can be calibrated on them. `traffic` is the source's share,
    relative to the others present, of the mixture of prompts whose scores give the artifact's calibration quantiles.
    """

    license: str
    weight: float
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    calibrates: bool = False
    traffic: float = 0.0
    drop_unsolved: bool = False


# Keys are the `source` field up to the first slash.
SOURCES = {
    "mmlu": Source("Apache-2.0 (RouteLLM); MMLU: MIT", 1.0, calibrates=True, traffic=0.15),
    "gsm8k": Source("Apache-2.0 (RouteLLM); GSM8K: MIT", 1.0, calibrates=True, traffic=0.15),
    "arena-bench-v1": Source("Apache-2.0", 1.0, calibrates=True, traffic=0.1),
    "zeroeval-crux": Source("Apache-2.0; CRUXEval: MIT", 0.5, ("gpt-4-turbo-2024-04-09",)),
    "llmrouter-dcrouter": Source(
        "MIT",
        0.8,
        ("llama-3.1-nemotron-51b-instruct", "llama-3.3-nemotron-super-49b-v1"),
        ("mistral-7b-instruct-v0.3",),
        drop_unsolved=True,
    ),
    "routellm-distl": Source(
        "MIT", 0.2, ("llama3.1-8b", "gemma3-4b"), ("llama3.2-1b", "gemma3-1b"), drop_unsolved=True
    ),
    # These stand-ins pick the two of its six judgings that set GPT-4 against small chat models. The same 499 prompts
    # come twice, and they are there to tell what chat looks like rather than to decide, hence the low weight.
    "arena-hard-v0.1": Source(
        "Apache-2.0",
        0.15,
        ("gpt-4-1106-preview", "gpt-4-0314"),
        (
            "meta-llama-3.1-8b-instruct",
            "tulu_v2_8b_2048_default_template_dpo",
            "tulu_v2_8b_default_template_dpo_list_bsz1_trible_debug_v5",
        ),
        traffic=0.15,
    ),
    # Users' asks without outcomes for a pair: their topics are learnt from, and they are what traffic looks like.
    "halueval_general": Source("MIT", 0.0, traffic=0.35),
    "rubriceval_wildbench392": Source("Apache-2.0", 0.0, traffic=0.1),
}
# A team's own file: its rows are what the router is for.
OWN_SOURCE = Source("not stated", 1.0, calibrates=True, traffic=1.0)


def source_of(name: str) -> Source:
    """The reading rules of a row's `source` field."""
    return SOURCES.get(name.split("/", 1)[0], OWN_SOURCE)
