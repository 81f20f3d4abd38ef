"""The text that a `causal_llm` router reads: a system turn and a user turn, in Llama 3's chat format.

The classifier's template is a Python format string with `{question}` where the prompt goes (and `{{`, `}}` for braces),
as in RouteLLM's checkpoints. Nothing follows the user's turn: the model's next token is the rating.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from routing_service.artifacts.reading import read_file
from routing_service.errors import ArtifactError

FIELD = "question"
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """`system` is the system turn's text, empty for none; `pieces` are the texts around each place of the prompt."""

    system: str
    pieces: tuple[str, ...]

    @classmethod
    def read(cls, system: Path, classifier: Path) -> PromptTemplate:
        """Read the two files of a checkpoint or artifact.

        Raises:
            ArtifactError: one cannot be read, or the classifier's template has not `{question}` as its only field.
        """
        system_text, classifier_text = _read(system), _read(classifier)
        pieces = [""]
        try:
            for literal, name, spec, conversion in Formatter().parse(classifier_text):
                pieces[-1] += literal
                if name is None:
                    continue
                if name != FIELD or spec or conversion:
                    raise ArtifactError(classifier, f"has the field {{{name}}}; only {{{FIELD}}} is known")
                pieces.append("")
        except ValueError as error:
            raise ArtifactError(
                classifier, f"is not a format string: {error}; braces of its own are doubled"
            ) from error
        if len(pieces) == 1:
            raise ArtifactError(classifier, f"has no {{{FIELD}}}, so that every prompt would get the same rating")
        return cls(system_text, tuple(pieces))

    def render(self, prompt: str) -> str:
        """The whole text for a prompt, each turn stripped."""
        user = _turn("user", prompt.join(self.pieces))
        return _turn("system", self.system) + user if self.system else user


def _turn(role: str, text: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text.strip()}<|eot_id|>"


def _read(path: Path) -> str:
    try:
        return read_file(path, _MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(path, f"cannot be read as UTF-8 text: {error}") from error
