"""Fits the heads that read asks without outcomes: topics, triviality, and the gate to the exam head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from routing_lab.data.examples import Example
from routing_lab.training.static.augment import paraphrase
from routing_lab.training.static.exam import Standard
from routing_lab.training.static.features import FEATURE_NAMES
from routing_lab.training.static.heads import Head
from routing_lab.training.static.networks import Fit, Network, fit_network, probabilities
from routing_lab.training.static.topic_data import TopicData
from routing_lab.training.static.topics import TOPICS, topic_of
from routing_lab.training.static.trivial import trivial_asks

Float32 = npt.NDArray[np.float32]
Look = Callable[[Sequence[str]], Float32]
# Features, targets, and the weight of each row or of all.
Part = tuple[Float32, Float32, Float32 | float]

TOPIC_TEACHERS = 3
TOPIC_FEATURES = ("share digits", "share code", "log count fences")
TRIVIAL_FEATURES = (
    *("share digits", "log pieces", "log weight", "log mathematics", "log solve", "log code"),
    *("log count longest number", "log count length", "log count digits", "log count operators", "log count '?'"),
    "log count different pieces",
)
# A source may not drown the others; a label of one's own counts more than a source's group, and a seed in one of few
# languages more than one in English.
MOST_OF_A_SOURCE = 400
SEED_WEIGHT, FOREIGN_SEED_WEIGHT, LABEL_WEIGHT, EXAMPLE_WEIGHT = 4.0, 8.0, 6.0, 0.5
LABELLED = "rubriceval_wildbench392"
TRANSLATIONS_A_LANGUAGE = 150
EXAMS = ("mmlu", "gsm8k", "zeroeval-crux")
HARD_TOPICS = ("math", "code", "data", "science", "reasoning", "planning")
# What other programs put around the questions of a benchmark: the exam head does not know those formats.
WRAPPERS = (
    "Please answer this question: {}",
    "Q: {}\nA:",
    "I have the following question.\n\n{}\n\nWhat do you think?",
    "Context: none\nQuestion: {}\nAnswer with one letter.",
    "### Instruction\n{}\n### Response",
    "You are a helpful assistant.\n\nUser: {}",
    "Choose the correct option and explain.\n{}",
    "<question>\n{}\n</question>",
)
WRAPPED = 2_400
# A question with a greeting or a typo is in its format still.
PARAPHRASED = 3_000
MOST_PARAPHRASES = 3_000


class AskHeads:
    """Fits the three heads on the same prompts.

    Args:
        data: asks with topics.
        examples: rows with outcomes; their outcomes are not read here.
        catalogues: translations from English, by language; may be empty.
        look: gives the features of texts.
        standard: the standardization.
        components: how many features are components.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        data: TopicData,
        examples: Sequence[Example],
        catalogues: Mapping[str, Mapping[str, str]],
        look: Look,
        standard: Standard,
        components: int,
        seed: int,
    ) -> None:
        self._data, self._examples, self._look, self._seed = data, examples, look, seed
        self._standard, self._components = standard, components
        self._rng = np.random.default_rng(seed)
        self._names = [*("" for _ in range(components)), *FEATURE_NAMES]
        self._prompts, topics, self._weights = self._labelled()
        self._topics = np.array([TOPICS.index(topic) for topic in topics])
        self._features = look(self._prompts)
        english, foreign = self._translations(catalogues)
        self._places = {text: place for place, text in enumerate(dict.fromkeys(english))}
        self._english = look(list(self._places)) if english else self._features[:0]
        self._foreign = look(foreign) if foreign else self._features[:0]
        self._pairs = [self._places[text] for text in english]
        self._trivial = trivial_asks(seed)
        drawn = self._rng.integers(0, len(self._trivial), len(self._trivial))
        self._trivial += [paraphrase(self._trivial[i], self._rng) for i in drawn]
        self._trivial_features = look(self._trivial)
        self._unlabelled = look([row.prompt for row in data.rows])

    def _labelled(self) -> tuple[list[str], list[str], Float32]:
        found: dict[str, tuple[str, float]] = {}
        for ask, topic in self._data.seeds:
            found[ask] = topic, SEED_WEIGHT if ask.isascii() else FOREIGN_SEED_WEIGHT
        self._seeds = len(found)
        rows = [(row.source, row.group, row.prompt, 1.0) for row in self._data.rows]
        rows += [(e.source.split("/")[0], e.group, e.prompt, EXAMPLE_WEIGHT) for e in self._examples]
        taken: dict[tuple[str, str], int] = {}
        for number in self._rng.permutation(len(rows)):
            source, group, prompt, weight = rows[number]
            known = topic_of(source, group, prompt)
            if known is None or prompt in found:
                continue
            taken[source, known] = taken.get((source, known), 0) + 1
            if taken[source, known] <= MOST_OF_A_SOURCE:
                found[prompt] = known, LABEL_WEIGHT if source == LABELLED else weight
        topics, weights = zip(*found.values(), strict=True)
        return list(found), list(topics), np.array(weights, np.float32)

    def _translations(self, catalogues: Mapping[str, Mapping[str, str]]) -> tuple[list[str], list[str]]:
        pairs = []
        for _, strings in sorted(catalogues.items()):
            chosen = sorted(strings.items())
            pairs += [chosen[i] for i in self._rng.permutation(len(chosen))[:TRANSLATIONS_A_LANGUAGE]]
        return [english for english, _ in pairs], [other for _, other in pairs]

    def _reads(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.array([*range(self._components), *(self._names.index(name) for name in names)])

    def topic(self) -> Head:
        """The topics: a network that learns from noisy teachers, on paraphrases and translations too."""
        reads = self._reads(TOPIC_FEATURES)
        teacher_fit = Fit(hidden=96, epochs=20, decay=0.3, noise=0.3, noisy=self._components)
        labels = np.eye(len(TOPICS), dtype=np.float32)[self._topics]
        here = self._standard(self._features)[:, reads]
        teachers = [
            fit_network(here, labels, self._weights, teacher_fit, self._seed + number)
            for number in range(TOPIC_TEACHERS)
        ]

        def taught(features: Float32) -> Float32:
            inputs = self._standard(features)[:, reads]
            shares: Float32 = np.mean([probabilities(teacher(inputs)) for teacher in teachers], axis=0)
            return shares

        soft = (labels + taught(self._features)) / 2
        short = [i for i, prompt in enumerate(self._prompts) if len(prompt) < 400]
        chosen = [*self._rng.choice(short, min(MOST_PARAPHRASES, len(short))), *list(range(self._seeds)) * 3]
        paraphrased = self._look([paraphrase(self._prompts[i], self._rng) for i in chosen])
        english = taught(self._english)
        parts: list[Part] = [
            (self._features, soft, self._weights),
            (paraphrased, soft[chosen], self._weights[chosen] * np.float32(0.5)),
            (self._foreign, english[self._pairs], 0.1),
            (self._english, english, 0.3),
            (self._unlabelled, taught(self._unlabelled), 0.3),
        ]
        # A linear part would be two more hidden units for each topic.
        fit = Fit(hidden=64, epochs=20, decay=0.3, noise=0.3, noisy=self._components, linear=False)
        return Head(self._fitted(parts, reads, fit), reads)

    def trivial(self) -> Head:
        """Whether an ask in a hard topic is trivial."""
        reads = self._reads(TRIVIAL_FEATURES)
        hard = np.flatnonzero(np.isin(self._topics, [TOPICS.index(topic) for topic in HARD_TOPICS]))
        # Short hard asks are few, and are what a trivial ask must not be taken for.
        lengths = np.array([len(self._prompts[i]) for i in hard])
        weights = np.where(hard < self._seeds, 6.0, np.where(lengths < 120, 3.0, 0.5)).astype(np.float32)
        count = len(self._trivial)
        parts: list[Part] = [
            (self._trivial_features, np.ones((count, 1), np.float32), 3.0),
            (self._features[hard], np.zeros((len(hard), 1), np.float32), weights),
        ]
        fit = Fit(hidden=24, epochs=20, decay=0.1, noise=0.3, noisy=self._components)
        return Head(self._fitted(parts, reads, fit), reads)

    def gate(self, example_features: Float32) -> Head:
        """Whether a prompt is an exam question in the format of a benchmark whose outcomes are known.

        Args:
            example_features: of the examples, in their order.
        """
        exam = np.isin([example.source.split("/")[0] for example in self._examples], EXAMS)
        questions = [e.prompt for e, is_exam in zip(self._examples, exam, strict=True) if is_exam]
        drawn = self._rng.integers(0, len(questions), WRAPPED if questions else 0)
        wrapped = [WRAPPERS[i % len(WRAPPERS)].format(questions[j]) for i, j in enumerate(drawn)]
        others = [self._unlabelled, self._foreign, self._trivial_features, self._features[: self._seeds]]
        others += [self._look(wrapped)] if wrapped else []
        drawn = self._rng.integers(0, len(questions), PARAPHRASED if questions else 0)
        greeted = self._look([paraphrase(questions[i], self._rng) for i in drawn])
        parts: list[Part] = [
            (example_features, exam[:, None].astype(np.float32), np.where(exam, 1.0, 0.5).astype(np.float32)),
            (greeted, np.ones((len(greeted), 1), np.float32), 1.0),
            *((features, np.zeros((len(features), 1), np.float32), 1.0) for features in others),
        ]
        reads = np.arange(len(self._names))
        return Head(self._fitted(parts, reads, Fit(hidden=32, epochs=12, decay=0.1)), reads)

    def _fitted(
        self,
        parts: Sequence[Part],
        reads: npt.NDArray[np.int64],
        fit: Fit,
    ) -> Network:
        """A network fitted on all parts together."""
        weights = [np.broadcast_to(np.asarray(weight, np.float32), len(part)) for part, _, weight in parts]
        return fit_network(
            self._standard(np.concatenate([part for part, _, _ in parts]))[:, reads],
            np.concatenate([targets for _, targets, _ in parts]).astype(np.float32),
            np.concatenate(weights),
            fit,
            self._seed,
        )


def closed(inputs: int, outputs: int, bias: float) -> Head:
    """A head that says the same of every prompt."""
    zeros = np.zeros
    network = Network(
        zeros((inputs, 1), np.float32),
        zeros(1, np.float32),
        zeros((1, outputs), np.float32),
        np.full(outputs, bias, np.float32),
        zeros((inputs, outputs), np.float32),
    )
    return Head(network, np.arange(inputs))
