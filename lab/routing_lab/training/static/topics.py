"""Topics of asks: which there are, what they are worth, and prompts that are known to belong to one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TOPICS = (
    *("math", "code", "data", "science", "reasoning", "planning", "brainstorm", "creative", "translate"),
    *("info", "advice", "editing", "common", "roleplay", "summarize", "chitchat"),
)
# The log-odds of the strong model's win on an ask of each topic. A monotone reading of measured gaps between the pair
# by category (WildBench, RubricEval, Arena-Hard); what they do not tell apart stands close together.
TOPIC_LOG_ODDS: Mapping[str, float] = {
    "math": 1.30,
    "code": 1.30,
    "data": 1.20,
    "science": 0.95,
    "reasoning": 0.90,
    "planning": 0.40,
    "brainstorm": 0.12,
    "creative": 0.08,
    "translate": 0.10,
    "info": 0.03,
    "advice": 0.05,
    "editing": 0.05,
    "common": 0.00,
    "roleplay": 0.00,
    "summarize": 0.00,
    "chitchat": -0.40,
}
TRIVIAL_LOG_ODDS = -0.40
_WILDBENCH = {
    "Information seeking": "info",
    "Creative Writing": "creative",
    "Coding & Debugging": "code",
    "Reasoning": "reasoning",
    "Planning": "planning",
    "Editing": "editing",
    "Math": "math",
    "Brainstorming": "brainstorm",
    "Advice seeking": "advice",
    "Data Analysis": "data",
    "Role playing": "roleplay",
}
# By source, and by the start of a row's group; the first that fits.
_GROUPS: Mapping[str, Mapping[str, str]] = {
    "gsm8k": {"": "math"},
    "zeroeval_math-l5": {"": "math"},
    "zeroeval-crux": {"": "code"},
    "evalperf": {"": "code"},
    "humaneval_plus": {"": "code"},
    "evouna_nq": {"": "info"},
    "evouna_tq": {"": "info"},
    "macgyver": {"": "planning"},
    "eq_bench_v2": {"": "roleplay"},
    "fasteval": {"math": "math", "bbh/": "reasoning"},
    "mmlu_pro": {"math": "math", "chemistry": "science", "physics": "science", "engineering": "science"},
    "llmrouter-dcrouter": {
        "gsm8k": "math",
        "math": "math",
        "mbpp": "code",
        "human_eval": "code",
        "natural_qa": "info",
        "trivia_qa": "info",
        "commonsense_qa": "common",
        "commongen": "common",
        "agentverse": "reasoning",
        "arc": "science",
    },
    "routellm-distl": {
        "minerva_math": "math",
        "agieval_math": "math",
        "agieval_aqua": "math",
        "agieval_sat_math": "math",
        "agieval_l": "reasoning",
        "humaneval": "code",
        "mbpp": "code",
        "social_iqa": "common",
        "piqa": "common",
        "bbh": "reasoning",
        "truthfulqa": "info",
        "arc": "science",
    },
}
# Users' queries, by what they ask for; the first that fits.
_QUERIES = tuple(
    (topic, re.compile(pattern, re.IGNORECASE))
    for topic, pattern in (
        ("code", r"\b(code|function|sql|html|css|python|javascript|java|script|regex|algorithm|program|api)\b"),
        ("translate", r"^(translate|convert .*\b(spanish|french|german|english|italian)\b)"),
        ("math", r"\b(calculate|equation|solve|probability|fraction|integer|triangle|simplify|square root)\b"),
        ("summarize", r"^(summari[sz]e|give .*summary|condense|outline the)"),
        (
            "editing",
            r"^(edit|rewrite|correct|fix|rephrase|paraphrase|reword|change|replace|remove|proofread)\b",
        ),
        (
            "creative",
            r"^(write|compose|generate|create|tell|craft|come up with|imagine|invent)\b.*\b(story|poem|haiku|"
            r"song|lyrics|tale|limerick|dialogue|joke|slogan|title|rap|verse|scene|tweet|ode|metaphor|tagline)\b",
        ),
        ("data", r"\b(dataset|data set|statistics|regression|trend|chart|spreadsheet)\b"),
        (
            "planning",
            r"^(plan|design|develop|create|make|construct|outline)\b.*\b(plan|schedule|itinerary|strategy|steps|budget)\b",
        ),
        (
            "brainstorm",
            r"^(suggest|recommend|name|list|give|brainstorm|come up with|generate .*(ideas|list|names)|propose)\b",
        ),
        ("advice", r"^(how (can|do|should|to)|what (should|can) i|advise|give .*advice)\b"),
        ("common", r"^(classify|categori[sz]e|identify|determine|sort|arrange|match|select|choose|decide)\b"),
        ("info", r"^(what|who|when|where|which|explain|describe|define|why|how)\b"),
    )
)


@dataclass(frozen=True, slots=True)
class TopicExample:
    """A prompt, its place in `TOPICS`, and its weight in training."""

    prompt: str
    topic: int
    weight: float


def topic_of(source: str, group: str, prompt: str) -> str | None:
    """The topic that a row's source and group name, or its words where it is a user's query; None if nothing tells."""
    source = source.split("/", 1)[0]
    if source == "rubriceval_wildbench392":
        return _WILDBENCH.get(group)
    if source == "halueval_general":
        return next((topic for topic, pattern in _QUERIES if pattern.search(prompt)), None)
    known = _GROUPS.get(source, {})
    return next((topic for start, topic in known.items() if group.startswith(start)), None)
