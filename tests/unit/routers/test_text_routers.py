"""`bert` and `causal_llm` over graphs whose win rates are told in Python: what they read, mask, cut and answer."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing_service.artifacts.loading import open_artifact
from routing_service.artifacts.onnx_runtime import SessionConfig
from routing_service.errors import ArtifactError
from routing_service.routers import causal_llm
from routing_service.routers.bert import BertRouter
from routing_service.routers.causal_llm import CausalLLMRouter
from tests.support.exporting import rewrite_manifest
from tests.support.text_artifacts import (
    MAX_NEW_TOKENS,
    PAD_ID,
    PAIR,
    STOP_ID,
    WORDS,
    bert_ids,
    bert_rate,
    causal_llm_ids,
    causal_llm_rate,
    write_bert,
    write_causal_llm,
)


def prompts_of(*lengths: int) -> list[str]:
    source = random.Random(1)
    return [" ".join(source.choices((*WORDS, "unheard"), k=length)) for length in lengths]


PROMPTS = prompts_of(1, 9, 3, 10, 11, 4, 200, 2, 1, 10)


class Recorded:
    """A session that keeps what it was given."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs: list[dict[str, Any]] = []

    def run(self, outputs: Any, inputs: dict[str, Any]) -> Any:
        self.inputs.append(inputs)
        return self._session.run(outputs, inputs)


# --- bert ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_bert_gives_the_graphs_rates_alone_and_in_batches(tmp_path: Path, side: str) -> None:
    router = BertRouter(open_artifact(write_bert(tmp_path, side=side), "bert"))
    wanted = [bert_rate(prompt, side) for prompt in PROMPTS]
    assert np.std(wanted) > 0.01
    together = router.score(PROMPTS, PAIR)
    assert together.strong_win_rates == pytest.approx(wanted, abs=1e-6)
    alone = [router.score([prompt], PAIR).strong_win_rates[0] for prompt in PROMPTS]
    assert alone == pytest.approx(wanted, abs=1e-6)
    assert list(together.prompt_tokens or ()) == [len(bert_ids(prompt, side)) for prompt in PROMPTS]
    assert list(together.truncated) == [len(prompt.split()) > 10 for prompt in PROMPTS]
    assert router.max_tokens == 12
    assert together.tokenize_us > 0
    assert together.inference_us > 0


def test_bert_pads_on_the_right_and_masks_the_padding(tmp_path: Path) -> None:
    router = BertRouter(open_artifact(write_bert(tmp_path), "bert"))
    session = Recorded(router._classifier._session)
    router._classifier._session = session
    router.score(["w1 w2 w3", "w4"], PAIR)
    (inputs,) = session.inputs
    long, short = bert_ids("w1 w2 w3"), bert_ids("w4")
    np.testing.assert_array_equal(inputs["input_ids"], [long, [*short, PAD_ID, PAD_ID]])
    np.testing.assert_array_equal(inputs["attention_mask"], [[1] * 5, [1, 1, 1, 0, 0]])
    assert {value.dtype for value in inputs.values()} == {np.dtype(np.int64)}


def test_a_bert_graph_is_run_as_configured(tmp_path: Path) -> None:
    session = SessionConfig(threads=3, graph_optimization="basic")
    router = BertRouter(open_artifact(write_bert(tmp_path), "bert"), session=session)
    assert router._classifier._session.get_session_options().intra_op_num_threads == 3


def test_a_bert_artifact_without_room_for_a_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="leave none for the text"):
        BertRouter(open_artifact(write_bert(tmp_path, max_tokens=2), "bert"))
    with pytest.raises(ArtifactError, match="pad_token_id must be"):
        BertRouter(open_artifact(write_bert(tmp_path, pad_token_id=-1), "bert"))
    write_bert(tmp_path, pad_token_id=0)
    BertRouter(open_artifact(tmp_path, "bert"))


def test_another_routers_graph_is_no_bert_graph(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="gives 'strong_win_rate'"):
        BertRouter(open_artifact(write_bert(tmp_path / "named", output="logits"), "bert"))
    write_causal_llm(tmp_path / "other")
    graph = (tmp_path / "other" / "model.onnx").read_bytes()
    write_bert(tmp_path / "bert")
    (tmp_path / "bert" / "model.onnx").write_bytes(graph)
    rewrite_manifest(tmp_path / "bert")
    with pytest.raises(ArtifactError, match="a bert graph has"):
        BertRouter(open_artifact(tmp_path / "bert", "bert"))


# --- causal_llm ---------------------------------------------------------------------------------------------

ASKS = prompts_of(*range(1, 25), *range(1, 25))


def llama(folder: Path, **options: Any) -> CausalLLMRouter:
    return CausalLLMRouter(open_artifact(write_causal_llm(folder, **options), "causal_llm"))


def test_causal_llm_gives_the_first_ratings_rate_alone_and_in_batches(tmp_path: Path) -> None:
    router = llama(tmp_path)
    wanted = [causal_llm_rate(ask) for ask in ASKS]
    assert {steps for _, steps in wanted} == {1, 2, MAX_NEW_TOKENS}
    assert len({rate for rate, _ in wanted}) > 3
    rates = [rate for rate, _ in wanted]
    assert router.score(ASKS, PAIR).strong_win_rates == pytest.approx(rates, abs=1e-6)
    assert [router.score([ask], PAIR).strong_win_rates[0] for ask in ASKS] == pytest.approx(rates, abs=1e-6)


def test_causal_llm_runs_no_token_more_than_it_needs(tmp_path: Path) -> None:
    router = llama(tmp_path)
    shapes: list[tuple[Any, Any]] = []
    run = router._llm._run

    def recording(ids: Any, mask: Any, cache: Any) -> Any:
        shapes.append((ids.shape, mask.shape))
        return run(ids, mask, cache)

    router._llm._run = recording  # type: ignore[method-assign] # to see what it is given
    for ask in ASKS:
        shapes.clear()
        router.score([ask], PAIR)
        length, steps = len(causal_llm_ids(ask)), causal_llm_rate(ask)[1]
        later = [((1, 1), (1, length + step)) for step in range(1, steps)]
        assert shapes == [((1, length), (1, length)), *later]


@pytest.mark.parametrize("piece", [1, 5, 16])
def test_causal_llm_reads_a_long_text_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    router = llama(tmp_path)
    monkeypatch.setattr(causal_llm, "PIECE_TOKENS", piece)
    rates = [causal_llm_rate(ask)[0] for ask in ASKS]
    assert router.score(ASKS, PAIR).strong_win_rates == pytest.approx(rates, abs=1e-6)


def test_causal_llm_reads_the_template_and_cuts_its_start(tmp_path: Path) -> None:
    router = llama(tmp_path)
    seen: list[Any] = []
    rate = router._llm._rate

    def recording(rows: Any) -> Any:
        seen.extend(list(row) for row in rows)
        return rate(rows)

    router._llm._rate = recording  # type: ignore[method-assign] # to see what it is given
    whole, long = prompts_of(28, 100)
    scores = router.score([whole, long], PAIR)
    assert list(scores.truncated) == [False, True]
    assert sorted(seen) == sorted([causal_llm_ids(whole), [causal_llm_ids(long)[0], *causal_llm_ids(long)[-39:]]])
    assert list(scores.prompt_tokens or ()) == [40, 40]


def test_a_text_that_ends_without_a_rating_is_for_the_strong_model(tmp_path: Path) -> None:
    router = llama(tmp_path)
    ends = [ask for ask in ASKS if causal_llm_rate(ask)[0] == 1.0]
    assert len(ends) > 3
    assert set(router.score(ends, PAIR).strong_win_rates) == {1.0}


@pytest.mark.parametrize("threshold", [0, 6])
def test_a_threshold_that_is_no_rating_is_refused(tmp_path: Path, threshold: int) -> None:
    with pytest.raises(ArtifactError, match="score_threshold must be"):
        llama(tmp_path, score_threshold=threshold)
    for good in (1, 5):
        llama(tmp_path / str(good), score_threshold=good)


def test_what_ends_the_answer_is_in_the_manifest(tmp_path: Path) -> None:
    assert llama(tmp_path / "1", stop_token_ids=[STOP_ID, 0]).models == PAIR
    with pytest.raises(ArtifactError, match="max_new_tokens must be"):
        llama(tmp_path / "2", max_new_tokens=0)


def test_a_bert_graph_is_no_causal_llm_graph(tmp_path: Path) -> None:
    write_bert(tmp_path / "other")
    graph = (tmp_path / "other" / "model.onnx").read_bytes()
    folder = write_causal_llm(tmp_path / "llama")
    (folder / "model.onnx").write_bytes(graph)
    rewrite_manifest(folder)
    with pytest.raises(ArtifactError, match="is not a causal_llm graph: it has inputs"):
        CausalLLMRouter(open_artifact(folder, "causal_llm"))
