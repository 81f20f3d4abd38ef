from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_service.engine.engine import SCORING_BATCH, Engine
from routing_service.engine.types import Asked, Decision, DecisionReason, RouteRequest, ScoreSource, Tier
from routing_service.errors import DecisionError, Reason
from routing_service.models import ModelPair
from routing_service.routers.base import Scores

SECRET = "a secret prompt"
BROKEN_RATES = [math.nan, math.inf, -math.inf, -0.1, 1.1]

MakeEngine = Callable[..., Engine]
Result = Decision | DecisionError


def by_prompt(text: str) -> float:
    """The rate that the prompt spells; one that spells none fails as a tokenizer might, quoting it."""
    try:
        return float(text.split(":", maxsplit=1)[0])
    except ValueError:
        raise RuntimeError(f"cannot tokenize {text!r}") from None


def comparable(result: Result) -> Any:
    """What must be the same however a request came in: all but the id and the times."""
    if isinstance(result, DecisionError):
        return result.reason, result.message, result.field, result.metadata
    return replace(result, decision_id="", tokenize_us=0.0, queue_us=0.0, inference_us=0.0, total_us=0.0)


def answers(engine: Engine, requests: Sequence[RouteRequest | DecisionError]) -> dict[str, list[Result]]:
    """The results of the same requests by every way of asking; closes the engine."""

    def one(request: RouteRequest | DecisionError) -> Result:
        try:
            return request if isinstance(request, DecisionError) else engine.decide(request)
        except DecisionError as error:
            return error

    async def one_async(request: RouteRequest | DecisionError) -> Result:
        try:
            return request if isinstance(request, DecisionError) else await engine.decide_async(request)
        except DecisionError as error:
            return error

    async def all_async() -> dict[str, list[Result]]:
        async with asyncio.timeout(5):  # what never comes must not hang the tests
            singly = [await one_async(request) for request in requests]
            return {"singly, async": singly, "batch, async": await engine.decide_batch_async(requests)}

    try:
        results = {"singly": [one(request) for request in requests], "batch": engine.decide_batch(requests)}
        return results | asyncio.run(all_async())
    finally:
        engine.close()


def answer(engine: Engine, request: RouteRequest) -> Result:
    """The result of one request, which must be the same however it is asked for."""
    result, *others = (part[0] for part in answers(engine, [request]).values())
    assert [comparable(other) for other in others] == [comparable(result)] * 3
    return result


def decision(engine: Engine, request: RouteRequest) -> Decision:
    result = answer(engine, request)
    assert isinstance(result, Decision), result
    return result


def refusal(engine: Engine, request: RouteRequest) -> DecisionError:
    result = answer(engine, request)
    assert isinstance(result, DecisionError), result
    return result


@pytest.fixture(params=[True, False], ids=["inline", "batched"])
def inline(request: pytest.FixtureRequest) -> bool:
    """Whether the router runs where the call came in, or in the batcher."""
    return bool(request.param)


# --- one ----------------------------------------------------------------------------------------------------


def test_a_decision_says_everything(fake_router: type[Any], make_engine: MakeEngine, inline: bool) -> None:
    engine = make_engine({"main": fake_router(lambda _: 0.6, inline=inline)})
    found = decision(engine, RouteRequest("0123456789", skipped_parts=2, threshold=0.6, request_id="r-1"))
    assert comparable(found) == Decision(
        decision_id="",
        model="big",
        tier=Tier.STRONG,
        strong_win_rate=0.6,
        threshold=0.6,
        router="main",
        router_revision="rev-1",
        reason=DecisionReason.THRESHOLD,
        fallback_reason=None,
        prompt_tokens=10,
        truncated=True,
        skipped_parts=2,
        request_id="r-1",
        source=ScoreSource.FRESH,
        policy="",
        generation=1,
        asked=Asked(10, ""),
    )
    assert (found.tokenize_us, found.inference_us) == (10.0, 20.0)
    assert found.queue_us == 0
    assert found.total_us >= found.queue_us


def test_a_router_that_does_not_tokenize_has_no_token_count(fake_router: type[Any], make_engine: MakeEngine) -> None:
    assert decision(make_engine({"main": fake_router(tokenizes=False)}), RouteRequest("x")).prompt_tokens is None


def test_decision_ids_are_32_hexadecimal_digits_and_differ(fake_router: type[Any], make_engine: MakeEngine) -> None:
    results = answers(make_engine({"main": fake_router()}), [RouteRequest("x")] * 100)
    ids = [result.decision_id for part in results.values() for result in part if isinstance(result, Decision)]
    assert len(set(ids)) == 400
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in ids)


@given(rate=st.floats(0, 1), threshold=st.floats(0, 1))
def test_strong_from_the_threshold_on(
    fake_router: type[Any], make_engine: MakeEngine, rate: float, threshold: float
) -> None:
    engine = make_engine({"main": fake_router(lambda _: rate)})
    (found,) = engine.decide_batch([RouteRequest("x", threshold=threshold)])
    assert isinstance(found, Decision)
    assert found.tier is (Tier.STRONG if rate >= threshold else Tier.WEAK)
    assert found.model == ("big" if rate >= threshold else "small")
    assert (found.strong_win_rate, found.threshold) == (rate, threshold)


@pytest.mark.parametrize(
    ("rate", "threshold", "tier"),
    [
        (0.0, 0.0, Tier.STRONG),
        (math.nextafter(1, 0), 1.0, Tier.WEAK),
        (1.0, 1.0, Tier.STRONG),
        (-0.0, 0.0, Tier.STRONG),
    ],
)
def test_a_threshold_of_0_makes_all_strong_and_one_of_1_only_a_score_of_1(
    fake_router: type[Any], make_engine: MakeEngine, rate: float, threshold: float, tier: Tier
) -> None:
    engine = make_engine({"main": fake_router(lambda _: rate)})
    assert decision(engine, RouteRequest("x", threshold=threshold)).tier is tier


def test_the_router_is_asked_about_the_models_that_are_answered_with(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool
) -> None:
    router = fake_router(names=(["big", "own"], ["small"]), inline=inline)
    assert decision(make_engine({"main": router}), RouteRequest("x", strong_model="own")).model == "own"
    assert set(router.pairs) == {ModelPair("own", "small")}


def test_only_a_router_that_is_not_inline_makes_a_call_wait(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool
) -> None:
    results = answers(make_engine({"main": fake_router(inline=inline)}), [RouteRequest("x")])
    for way, (found,) in results.items():
        assert isinstance(found, Decision)
        assert (found.queue_us > 0) == (not inline and way.endswith("async"))
        assert found.total_us >= found.queue_us


# --- routers that fail --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", BROKEN_RATES)
def test_a_score_that_is_no_probability_is_never_a_decision(
    fake_router: type[Any], make_engine: MakeEngine, log: Any, inline: bool, rate: float
) -> None:
    error = refusal(make_engine({"main": fake_router(lambda _: rate, inline=inline)}), RouteRequest(SECRET))
    assert (error.reason, error.field) == (Reason.SCORE_INVALID, "")
    assert error.metadata == {"router_type": "fake", "router_revision": "rev-1"}
    event, values = log.lines[0]
    assert (event, values["router"], str(values["score"])) == ("score_invalid", "fake", str(rate))
    assert SECRET not in f"{error} {log.lines}"


@pytest.mark.parametrize("rate", [None, "0.5", [0.5]], ids=repr)
def test_a_score_that_is_no_number_is_no_decision_either(
    fake_router: type[Any], make_engine: MakeEngine, log: Any, inline: bool, rate: Any
) -> None:
    """It may not escape as an exception either: a batch's callers would wait for ever."""
    error = refusal(make_engine({"main": fake_router(lambda _: rate, inline=inline)}), RouteRequest(SECRET))
    assert error.reason in (Reason.SCORE_INVALID, Reason.ROUTER_FAILED)
    assert log.lines


@pytest.mark.parametrize("answer", [None, 0.5, [0.5]], ids=repr)
@pytest.mark.usefixtures("log")
def test_an_answer_that_is_no_scores_is_an_error(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool, answer: Any
) -> None:
    router = fake_router(inline=inline)
    router.score = lambda texts, models: answer  # noqa: ARG005 - a router's method
    assert refusal(make_engine({"main": router}), RouteRequest(SECRET)).reason is Reason.ROUTER_FAILED


@pytest.mark.parametrize("name", ["truncated", "prompt_tokens"])
@pytest.mark.usefixtures("log")
def test_an_answer_that_lacks_a_row_is_an_error(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool, name: str
) -> None:
    router = fake_router(inline=inline)
    whole = router.score
    router.score = lambda texts, models: replace(whole(texts, models), **{name: []})
    assert refusal(make_engine({"main": router}), RouteRequest(SECRET)).reason is Reason.ROUTER_FAILED


def test_a_router_that_raises_is_an_error_whose_cause_stays_inside(
    fake_router: type[Any], make_engine: MakeEngine, log: Any, inline: bool
) -> None:
    error = refusal(make_engine({"main": fake_router(by_prompt, inline=inline)}), RouteRequest(SECRET))
    assert error.reason is Reason.ROUTER_FAILED
    assert isinstance(error.__cause__, RuntimeError)
    assert SECRET not in str(error)
    assert SECRET.encode() not in error.to_status().SerializeToString()
    event, values = log.lines[0]
    assert (event, values["router"], values["revision"]) == ("router_failed", "fake", "rev-1")
    assert "RuntimeError" in str(values)
    assert SECRET not in str(values)


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_wrong_number_of_scores_is_an_error(
    fake_router: type[Any], make_engine: MakeEngine, log: Any, inline: bool, extra: int
) -> None:
    error = refusal(make_engine({"main": fake_router(extra_scores=extra, inline=inline)}), RouteRequest(SECRET))
    assert error.reason is Reason.ROUTER_FAILED
    assert log.lines, "what the operator must mend is in the log"


@pytest.mark.parametrize("fallback", ["error", "strong"])
def test_an_error_that_a_router_words_itself_is_passed_on(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool, fallback: str
) -> None:
    own = DecisionError(Reason.DEADLINE_EXCEEDED, "Too late.")

    def late(_: str) -> float:
        raise own

    engine = make_engine({"main": fake_router(late, inline=inline)}, f"fallback: {{on_router_error: {fallback}}}")
    assert refusal(engine, RouteRequest("x")) is own


@pytest.mark.parametrize("how", ["raises", "answers"])
def test_a_prompt_that_a_router_refuses_fails_nobody_else(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool, how: str
) -> None:
    """Whether the router words it for that prompt alone, or for the whole batch."""
    own = DecisionError(Reason.PROMPT_TOO_LARGE, "Too large.")

    class Refusing(fake_router):  # type: ignore[misc] # the class is a fixture
        def score(self, texts: Sequence[str], models: Any) -> Scores:  # noqa: ARG002 - the interface
            errors = {place: own for place, text in enumerate(texts) if text == "long"}
            if errors and how == "raises":
                raise own
            rates = [float("nan") if text == "long" else 0.5 for text in texts]
            return Scores(rates, None, [False] * len(texts), errors=errors)

    engine = make_engine({"main": Refusing(inline=inline)}, "fallback: {on_router_error: strong}")
    for results in answers(engine, [RouteRequest(text) for text in ("a", "long", "b")]).values():
        assert results[1] is own
        assert [result.reason for result in (results[0], results[2])] == [DecisionReason.THRESHOLD] * 2


FAILURES = [
    (lambda _: math.nan, 0, Reason.SCORE_INVALID),
    (lambda _: 1.1, 0, Reason.SCORE_INVALID),
    (by_prompt, 0, Reason.ROUTER_FAILED),
    (lambda _: 0.5, 1, Reason.ROUTER_FAILED),
]


@pytest.mark.parametrize(("rate", "extra", "reason"), FAILURES, ids=["nan", "1.1", "raises", "one too many"])
@pytest.mark.parametrize(("side", "tier", "model"), [("strong", Tier.STRONG, "big"), ("weak", Tier.WEAK, "small")])
@pytest.mark.usefixtures("log")
def test_a_fallback_decides_and_says_why(
    fake_router: type[Any],
    make_engine: MakeEngine,
    inline: bool,
    rate: Callable[[str], float],
    extra: int,
    reason: Reason,
    side: str,
    tier: Tier,
    model: str,
) -> None:
    router = fake_router(rate, extra_scores=extra, inline=inline)
    engine = make_engine({"main": router}, f"fallback: {{on_router_error: {side}}}")
    expected = Decision(
        decision_id="",
        model=model,
        tier=tier,
        strong_win_rate=None,
        threshold=None,
        router="main",
        router_revision="rev-1",
        reason=DecisionReason.FALLBACK,
        fallback_reason=reason,
        prompt_tokens=None,
        truncated=False,
        skipped_parts=1,
        request_id="r",
        source=ScoreSource.NONE,
        policy="",
        generation=1,
        asked=Asked(len(SECRET), ""),
    )
    for results in answers(engine, [RouteRequest(SECRET, skipped_parts=1, request_id="r")] * 2).values():
        assert [comparable(result) for result in results] == [expected, expected]
        assert all(isinstance(result, Decision) and result.decision_id for result in results)


def test_a_fallback_answers_with_the_models_that_were_asked_for(
    fake_router: type[Any], make_engine: MakeEngine, log: Any
) -> None:
    router = fake_router(lambda _: math.nan, names=(["big", "own"], ["small"]))
    engine = make_engine({"main": router}, "fallback: {on_router_error: strong}")
    assert decision(engine, RouteRequest(SECRET, strong_model="own")).model == "own"
    assert SECRET not in str(log.lines)


@pytest.mark.parametrize("side", ["strong", "weak"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"router": "nope"}, Reason.ROUTER_NOT_FOUND),
        ({"policy": "nope"}, Reason.POLICY_NOT_FOUND),
        ({"threshold": math.nan}, Reason.THRESHOLD_OUT_OF_RANGE),
    ],
)
def test_a_fallback_does_not_cover_up_the_caller_s_mistakes(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool, side: str, fields: dict[str, Any], reason: Reason
) -> None:
    engine = make_engine({"main": fake_router(inline=inline)}, f"fallback: {{on_router_error: {side}}}")
    assert refusal(engine, RouteRequest("x", **fields)).reason is reason


# --- many ---------------------------------------------------------------------------------------------------

PROMPTS = st.one_of(st.floats(0, 1).map(str), st.sampled_from(["nan", "1.1", "-0.1", "inf", "boom", "0.5:" + "x" * 30]))
REQUESTS = st.builds(
    RouteRequest,
    PROMPTS,
    router=st.sampled_from(["", "main", "other", "nope"]),
    threshold=st.one_of(st.none(), st.floats(0, 1), st.just(2.0)),
    policy=st.sampled_from(["", "", "cheap", "nope"]),
    strong_model=st.sampled_from(["", "big", "own", "nope"]),
    request_id=st.text(max_size=3),
)
ITEMS = st.lists(st.one_of(REQUESTS, st.just(DecisionError(Reason.PROMPT_EMPTY, "Empty."))), max_size=12)


@given(items=ITEMS, fallback=st.sampled_from(["error", "strong", "weak"]))
@settings(max_examples=20)
def test_a_batch_gives_what_single_decisions_give(
    fake_router: type[Any], make_engine: MakeEngine, items: list[RouteRequest | DecisionError], fallback: str
) -> None:
    names = (["big", "own"], ["small"])
    routers = {
        "main": fake_router(by_prompt, names=names),
        "other": fake_router(by_prompt, names=names, inline=False),
    }
    text = f"policies: {{cheap: {{strong_share: 0.2}}}}\nfallback: {{on_router_error: {fallback}}}"
    singly, *others = answers(make_engine(routers, text), items).values()
    for other in others:
        assert [comparable(result) for result in other] == [comparable(result) for result in singly]


@given(requests=st.lists(REQUESTS, max_size=12))
def test_no_prompt_is_ever_in_an_error(
    fake_router: type[Any], make_engine: MakeEngine, requests: list[RouteRequest]
) -> None:
    engine = make_engine({"main": fake_router(by_prompt)})
    for result in engine.decide_batch([replace(request, text=SECRET) for request in requests]):
        assert isinstance(result, DecisionError)
        assert SECRET not in f"{result} {result.metadata}"


def test_one_prompt_that_fails_the_router_fails_nobody_else(
    fake_router: type[Any], make_engine: MakeEngine, log: Any, inline: bool
) -> None:
    engine = make_engine({"main": fake_router(by_prompt, inline=inline)})
    for results in answers(engine, [RouteRequest(text) for text in ("0.1", SECRET, "0.9", "nan")]).values():
        assert [result.reason for result in results] == [
            DecisionReason.THRESHOLD,
            Reason.ROUTER_FAILED,
            DecisionReason.THRESHOLD,
            Reason.SCORE_INVALID,
        ]
        assert [result.strong_win_rate for result in results if isinstance(result, Decision)] == [0.1, 0.9]
    assert "score_invalid" in [event for event, _ in log.lines]


def test_an_item_that_is_an_error_already_stays_it(
    fake_router: type[Any], make_engine: MakeEngine, inline: bool
) -> None:
    error = DecisionError(Reason.PROMPT_EMPTY, "Empty.")
    results = answers(make_engine({"main": fake_router(inline=inline)}), [error, RouteRequest("x"), error])
    for part in results.values():
        assert part[0] is part[2] is error
        assert isinstance(part[1], Decision)


def test_prompts_for_the_same_router_and_models_are_scored_together(
    fake_router: type[Any], make_engine: MakeEngine
) -> None:
    names = (["big", "own"], ["small"])
    main, other = fake_router(names=names), fake_router(names=names)
    make_engine({"main": main, "other": other}).decide_batch(
        [
            RouteRequest("a", router="main", threshold=0.1),
            RouteRequest("b", router="other"),
            RouteRequest("c", router="main", threshold=0.9),
            RouteRequest("d", router="main", strong_model="own"),
        ]
    )
    assert main.batches == [["a", "c"], ["d"]]
    assert other.batches == [["b"]]


def test_a_long_batch_is_scored_in_parts_of_like_lengths(fake_router: type[Any], make_engine: MakeEngine) -> None:
    router = fake_router(lambda text: len(text) / 1000)
    texts = ["x" * (1 + 37 * n % 200) for n in range(2 * SCORING_BATCH + 1)]
    results = make_engine({"main": router}).decide_batch([RouteRequest(text) for text in texts])
    assert [r.strong_win_rate for r in results if isinstance(r, Decision)] == [len(text) / 1000 for text in texts]
    assert [len(batch) for batch in router.batches] == [SCORING_BATCH, SCORING_BATCH, 1]
    assert [text for batch in router.batches for text in batch] == sorted(texts, key=len)


def test_a_batch_s_times_are_shared_out(fake_router: type[Any], make_engine: MakeEngine) -> None:
    results = make_engine({"main": fake_router()}).decide_batch([RouteRequest("x")] * 4)
    assert {(r.tokenize_us, r.inference_us) for r in results if isinstance(r, Decision)} == {(10.0, 20.0)}
    assert len({r.total_us for r in results if isinstance(r, Decision)}) == 1
