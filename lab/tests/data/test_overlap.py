"""Prompts that ask what a benchmark asks are found, however they are laid out; others are not."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_lab.data.overlap import NO_MATCH, OverlapIndex, words

VOCABULARY = [f"{head}{tail}" for head in ("al", "be", "cor", "den", "ef") for tail in ("ta", "no", "rim", "sol", "ux")]
QUESTIONS = st.lists(st.sampled_from(VOCABULARY), min_size=14, max_size=40, unique=True).map(" ".join)


def matches(known: list[str], *asked: str) -> list[int]:
    return list(map(int, OverlapIndex(known).matches(asked)))


@given(st.lists(QUESTIONS, min_size=1, max_size=8, unique=True), st.randoms(use_true_random=False))
def test_layout_case_and_punctuation_hide_nothing(known: list[str], rng: random.Random) -> None:
    def disguised(text: str) -> str:
        parts = [word.upper() if rng.random() < 0.5 else word for word in text.split()]
        return " \n".join(part + rng.choice(["", ",", " -", "!"]) for part in parts)

    assert matches(known, *map(disguised, known)) == list(range(len(known)))


@given(QUESTIONS, st.integers(0, 10_000), st.sampled_from(["changed", "", "two words"]))
def test_a_word_changed_or_left_out_hides_nothing(question: str, place: int, instead: str) -> None:
    parts = question.split()
    parts[place % len(parts)] = instead
    assert matches([question, "what else is there to be asked of anybody"], " ".join(parts)) == [0]


@given(QUESTIONS, st.text(max_size=40), st.text(max_size=40))
def test_a_template_around_it_hides_nothing(question: str, before: str, after: str) -> None:
    assert matches([question], f"{before} | {question}\nA. one\nB. two\n| {after}") == [0]


@given(st.lists(st.text(max_size=60), max_size=10))
def test_any_text_can_be_asked_and_known(texts: list[str]) -> None:
    found = matches(texts, *texts, "entirely other words that no text before has held")
    assert found[-1] == NO_MATCH
    for text, number in zip(texts, found, strict=False):
        assert (number == NO_MATCH) == (not words(text))


@given(
    st.lists(st.sampled_from(VOCABULARY[:12]), max_size=30), st.lists(QUESTIONS, min_size=1, max_size=4, unique=True)
)
def test_the_index_agrees_with_its_definition(asked: list[str], known: list[str]) -> None:
    def triples(text: str) -> set[tuple[str, ...]]:
        parts = words(text)
        return {tuple(parts[i : i + 3]) for i in range(len(parts) - 2)}

    def near(question: str) -> bool:
        telling = {t for t in triples(question) if sum(t in triples(other) for other in known) <= 2}
        shared = len(triples(text) & telling)
        return shared >= 6 and (shared >= 0.7 * len(telling) or shared >= 0.9 * (len(asked) - 2))

    text = " ".join(asked)
    assert (matches(known, text)[0] != NO_MATCH) == (text in known or any(map(near, known)))


WORDS = [f"w{number}" for number in range(200)]
OTHERS = [f"x{number}" for number in range(200)]


@pytest.mark.parametrize(("shared", "found"), [(16, True), (15, False)])
def test_a_longer_text_must_hold_seven_tenths_of_a_known_question(shared: int, found: bool) -> None:
    known = " ".join(WORDS[:22])  # 20 sequences of three words, of which 14 are seven tenths
    asked = " ".join([*OTHERS[:100], *WORDS[:shared], *OTHERS[100:]])
    assert matches([known], asked) == [0 if found else NO_MATCH]


@pytest.mark.parametrize(("shared", "others", "found"), [(11, 1, True), (10, 2, False)])
def test_a_shorter_text_must_be_nine_tenths_a_known_question_s(shared: int, others: int, found: bool) -> None:
    known = " ".join(WORDS[:102])
    asked = " ".join([*WORDS[:shared], *OTHERS[:others]])  # ten sequences
    assert matches([known], asked) == [0 if found else NO_MATCH]


@pytest.mark.parametrize(("count", "found"), [(8, True), (7, False)])
def test_six_sequences_are_the_least_that_tell(count: int, found: bool) -> None:
    known = " ".join(WORDS[:count])
    asked = " ".join([*OTHERS[:5], *WORDS[:count], *OTHERS[5:10]])
    assert matches([known], asked) == [0 if found else NO_MATCH]


@pytest.mark.parametrize(("prompts", "most"), [(39, 2), (60, 3), (399, 19), (400, 20), (500, 20)])
def test_what_more_than_a_twentieth_of_the_known_prompts_share_is_a_template(prompts: int, most: int) -> None:
    shared = " ".join(WORDS[:20])

    def known(sharing: int) -> list[str]:
        return [f"{shared} y{i}" if i < sharing else " ".join([f"z{i}"] * 9) for i in range(prompts)]

    assert matches(known(most), shared) != [NO_MATCH]
    assert matches(known(most + 1), shared) == [NO_MATCH]


def test_what_many_known_prompts_share_is_a_template() -> None:
    template = "You are given a function and an assertion; complete the assertion with the output of the function"
    known = [f"{template} number {i}{i}{i}" for i in range(10)]
    assert matches(known, f"{template} called differently") == [NO_MATCH]
    assert matches(known, known[3]) == [3]


def test_the_same_known_prompt_twice_is_no_template() -> None:
    question = "How far does a train go in three hours at sixty miles an hour when it stops twice?"
    assert matches([question] * 40, "Please answer: " + question + " Thank you.") == [0]


def test_other_questions_pass() -> None:
    known = ["Which planet of the solar system has the most moons in total?\nA. Mars\nB. Saturn\nAnswer:"]
    assert matches(known, "Which planet of the system has rings?", "", "?!") == [NO_MATCH] * 3
    assert matches(known, "which planet of the solar system has the most moons in total") == [0]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    known = ["请用简单的语言解释什么是递归以及它为什么有用"]
    assert matches(known, "你好，" + known[0] + "。谢谢", "请写一首关于秋天的诗") == [0, NO_MATCH]  # noqa: RUF001 - Chinese
    assert words("Ｆｕｌｌ １２ naïve") == ["full", "12", "naïve"]  # noqa: RUF001 - full-width is the point


def test_what_is_asked_beside_it_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    known = [" ".join(rng.choice(VOCABULARY, 20)) for _ in range(50)]
    asked = [*known, *(" ".join(rng.choice(VOCABULARY, 20)) for _ in range(50))]
    index = OverlapIndex(known)
    whole = index.matches(asked)
    one_by_one = np.concatenate([index.matches([text]) for text in asked])
    np.testing.assert_array_equal(whole, one_by_one)
