"""`routing-service train causal_llm`: a Llama fine-tuned to rate prompts from 1 to 5, and its artifact.

RouteLLM's recipe (arXiv 2406.18665, its "causal LLM classifier"): the ratings are tokens of their own, the
prompt stands in two templates, and the model learns to say the rating as its next token. Preferences are soft here: a
row's target becomes the probabilities of the ratings (see `labels`), and the loss is the cross-entropy to them over the
whole vocabulary, so that a rating is what comes next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from export_onnx.causal_llm import (
    MAX_NEW_TOKENS,
    SCORE_THRESHOLD,
    TRUNCATION_SIDE,
    make_artifact,
    source_win_rates,
    stop_ids,
)
from export_onnx.causal_llm_config import Decoder, read_decoder
from export_onnx.checkpoint import CONFIG, Checkpoint, open_checkpoint
from export_onnx.tokenizer import SourceTokenizer
from routing_lab.data.examples import Example
from routing_lab.training.finetune.artifact import checkpoint_folder, describe_export, open_work
from routing_lab.training.finetune.batches import Rows
from routing_lab.training.finetune.labels import rating_probabilities
from routing_lab.training.finetune.loop import Objective, device_of, fit, mixed_precision
from routing_lab.training.finetune.pretrained import move_to_device
from routing_lab.training.finetune.rating_model import (
    add_rating_tokens,
    load_rating_model,
    merged_model,
)
from routing_lab.training.finetune.report import FinetuneReport
from routing_lab.training.finetune.request import CausalLLMRequest
from routing_lab.training.finetune.training_data import read_data
from routing_service.errors import ArtifactError, UsageError
from routing_service.routers.causal_llm import CLASSIFIER_TEMPLATE, SYSTEM_TEMPLATE, CausalLLMSettings
from routing_service.routers.causal_llm_prompt import PromptTemplate

TEMPLATES = (SYSTEM_TEMPLATE, CLASSIFIER_TEMPLATE)
# What stands around a prompt unless the checkpoint or the caller has templates: short, as every prompt pays for it.
DEFAULT_TEMPLATES = {
    SYSTEM_TEMPLATE: "You judge, from a request alone, how well a small language model would answer it.\n",
    CLASSIFIER_TEMPLATE: (
        "Request:\n{question}\n\n"
        "Next to the answer of a much stronger model, the small model's would be: 5 better, 4 as good, 3 a little "
        "worse, 2 clearly worse, 1 no use.\nRating:\n"
    ),
}
# Tokens that must be left for the prompt itself.
MIN_PROMPT_TOKENS = 8


def train(asked: CausalLLMRequest) -> FinetuneReport:
    """Fine-tune a Llama and write its artifact. An interrupted run goes on where it was.

    Raises:
        UsageError: the checkpoint, a template, the data or a folder is not usable, or the training diverged; the
            message says how to mend it.
    """
    asked.check()
    base = open_checkpoint(asked.checkpoint)
    sizes = read_decoder(base.config, base.folder / CONFIG)
    stops = stop_ids(base)
    tokenizer = SourceTokenizer(base, sizes.vocabulary)
    add_rating_tokens(tokenizer)
    texts = _template_texts(base, (asked.system_template, asked.classifier_template))
    template = _template(texts)
    max_tokens = _max_tokens(asked, sizes, tokenizer, template)
    data = read_data(asked)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    work = open_work(asked, base, data, templates=hashes)
    resumed = work.resumed
    training, validation = (
        _rows(part, tokenizer, template, max_tokens, asked) for part in (data.train, data.validation)
    )
    rated = load_rating_model(base, tokenizer, asked)
    move_to_device(rated.model)
    objective = Objective(rated.log_probs, 0, "left")
    best = fit(rated.model, training, validation, objective, asked, work, seed=asked.seed, finish=asked.finish)
    settings = CausalLLMSettings(rated.ids, SCORE_THRESHOLD, stops, MAX_NEW_TOKENS, TRUNCATION_SIDE)
    # By the model where it was trained: a large graph on a CPU would take hours, and the parity proof binds the two.
    with mixed_precision(device_of(rated.model)):
        prompts = [example.prompt for example in data.validation]
        rates = source_win_rates(rated.model.eval(), tokenizer, template, settings, max_tokens, prompts)
    with checkpoint_folder(asked, work) as folder:
        merged_model(rated, base, tokenizer, asked).save_pretrained(str(folder))
        tokenizer.source.model_max_length = max_tokens
        tokenizer.source.save_pretrained(str(folder))
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        export = describe_export(folder, asked, base, data, best, lambda *_: rates)
        manifest = make_artifact(export)
    work.discard()
    return FinetuneReport(asked.output, manifest, len(data.train), resumed)


def _template_texts(base: Checkpoint, templates: Sequence[Path | None]) -> dict[str, str]:
    """The texts of the two templates: the caller's, else the checkpoint's, else the defaults."""
    texts = {}
    for name, chosen in zip(TEMPLATES, templates, strict=True):
        path = chosen or base.folder / name
        if chosen is None and not path.is_file():
            texts[name] = DEFAULT_TEMPLATES[name]
            continue
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return texts


def _template(texts: Mapping[str, str]) -> PromptTemplate:
    with TemporaryDirectory() as scratch:
        paths = [Path(scratch) / name for name in TEMPLATES]
        for path in paths:
            path.write_text(texts[path.name], encoding="utf-8")
        try:
            return PromptTemplate.read(*paths)
        except ArtifactError as error:
            raise UsageError(f"the template {error.path.name} {error.problem}") from error


def _max_tokens(asked: CausalLLMRequest, sizes: Decoder, tokenizer: SourceTokenizer, template: PromptTemplate) -> int:
    """How many tokens of the whole text are read: the tokens after the first need positions too, all but the last."""
    most = min(asked.max_tokens, tokenizer.limit or sizes.positions, sizes.positions - (MAX_NEW_TOKENS - 1))
    used = len(tokenizer.source(template.render(""))["input_ids"])
    if most < used + MIN_PROMPT_TOKENS:
        raise UsageError(
            f"--max-tokens: {most} tokens leave no room for a prompt, as the templates alone take {used}; give "
            f"{used + MIN_PROMPT_TOKENS} or more, or shorter templates"
        )
    return most


def _rows(
    examples: Sequence[Example],
    tokenizer: SourceTokenizer,
    template: PromptTemplate,
    max_tokens: int,
    asked: CausalLLMRequest,
) -> Rows:
    texts = (template.render(example.prompt) for example in examples)
    return Rows(
        [tokenizer.encode(text, max_tokens, TRUNCATION_SIDE) for text in texts],
        rating_probabilities([example.target for example in examples], asked.ties).astype(np.float32),
        np.array([example.weight for example in examples], np.float32),
    )
