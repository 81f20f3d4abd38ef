"""`train mf` from end to end, on data small enough for a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from routing_lab.data.splits import Overlap
from routing_lab.training.embeddings import load_embeddings
from routing_lab.training.mf.encoder import embed, write_word_vector_encoder
from routing_lab.training.mf.model import Float32
from routing_lab.training.mf.report import MatrixFactorizationReport
from routing_lab.training.mf.train import train
from routing_lab.training.self_test import SELF_TEST_PROMPTS
from routing_lab.training.work import CHECKPOINT, STATE
from safetensors.numpy import save_file

from routing_service.artifacts.loading import Artifact, open_artifact
from routing_service.embedders.onnx import OnnxEmbedder
from routing_service.errors import ArtifactError, UsageError
from routing_service.models import ModelPair
from routing_service.routers.mf import MatrixFactorizationRouter, bundled_embedder
from tests.support.progress import no_progress
from tests.support.training import EASY, EPOCHS, HARD, WriteBattles, WritePreferences, request


def run(data: Path, output: Path, embeddings: Path, **options: object) -> MatrixFactorizationReport:
    return train(request(data, output, embeddings, **options), progress=no_progress)


def serve(output: Path) -> MatrixFactorizationRouter:
    artifact = open_artifact(output, "mf")
    return MatrixFactorizationRouter(artifact, bundled_embedder(artifact))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_trained_is_served_and_tells_hard_from_easy(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    report = run(write_battles(600), tmp_path / "out", embeddings_folder)
    router = serve(tmp_path / "out")
    assert router.revision == report.revision
    assert router.models == ModelPair("big", "small")
    easy, hard = router.score([EASY + "?", HARD + "?"], router.models).strong_win_rates
    assert 0.3 < easy < hard - 0.1
    assert report.metrics["by_source"]["battles.jsonl"]["apgr"][0] > 0.55
    accuracy, low, high = report.metrics["validation"]["accuracy"]
    assert 0.8 < low <= accuracy <= high <= 1
    assert router.calibration is not None
    assert len(router.calibration.quantiles) == 1001
    assert "to serve it" in str(report)
    assert len(report.config.splitlines()) == 3
    assert json.dumps(report.as_dict())


def test_any_two_models_of_the_data_can_be_asked_about(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    run(write_battles(600), tmp_path / "out", embeddings_folder)
    router = serve(tmp_path / "out")
    assert router.strong_names == {"big", "small", "tiny"}
    (forth,) = router.score([HARD], ModelPair("big", "tiny")).strong_win_rates
    (back,) = router.score([HARD], ModelPair("tiny", "big")).strong_win_rates
    assert forth + back == pytest.approx(1)
    assert forth > 0.6  # they never met; both met small


def test_scores_are_battles_too(tmp_path: Path, embeddings_folder: Path, write_preferences: WritePreferences) -> None:
    report = run(write_preferences(400), tmp_path / "out", embeddings_folder)
    assert report.battles == 400
    router = serve(tmp_path / "out")
    easy, hard = router.score([EASY, HARD], router.models).strong_win_rates
    assert easy < hard


def test_the_same_inputs_and_seed_give_the_same_files(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    data = write_battles(300)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        run(data, tmp_path / name, embeddings_folder, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one")["model.onnx"] != contents(tmp_path / "three")["model.onnx"]


@contextmanager
def interrupting(what: str, steps: int) -> Iterator[Callable[[], object]]:
    """Stops after three epochs, as a signal would."""
    del what, steps
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt

    yield step


def test_an_interrupted_training_goes_on_and_ends_the_same(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    data = write_battles(300)
    whole = run(data, tmp_path / "whole", embeddings_folder)
    asked = request(data, tmp_path / "out", embeddings_folder)
    with pytest.raises(KeyboardInterrupt):
        train(asked, progress=interrupting)
    assert not (tmp_path / "out").exists()
    told: list[str] = []
    resumed = train(asked, progress=no_progress, notice=told.append)
    assert told == [f"{tmp_path / 'out.work'}: an interrupted training goes on after epoch 3"]
    assert (resumed.resumed, whole.resumed) == (3, 0)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / "out.work").exists()


def test_an_interrupted_training_does_not_go_on_with_something_else(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    asked = request(write_battles(300), tmp_path / "out", embeddings_folder)
    with pytest.raises(KeyboardInterrupt):
        train(asked, progress=interrupting)
    with pytest.raises(UsageError, match=r"asked for something else \(recipe, seed differ\)"):
        train(replace(asked, seed=1, noise=0.1), progress=no_progress)
    write_battles(310)  # the data, under the same name
    with pytest.raises(UsageError, match=r"\(data differ\)"):
        train(asked, progress=no_progress)
    assert train(replace(asked, restart=True), progress=no_progress).resumed == 0


def test_a_checkpoint_of_another_making_is_refused(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    asked = request(write_battles(300), tmp_path / "out", embeddings_folder)
    with pytest.raises(KeyboardInterrupt):
        train(asked, progress=interrupting)
    save_file({"now.models": np.ones(3)}, tmp_path / "out.work" / CHECKPOINT, {STATE: "{}"})
    with pytest.raises(UsageError, match=r"not this training's.*--restart"):
        train(asked, progress=no_progress)


def test_a_failed_training_keeps_the_old_artifact(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = write_battles(300), tmp_path / "out"
    run(data, output, embeddings_folder)
    before = contents(output)

    def refuse(artifact: Artifact, embedder: object) -> None:
        raise ArtifactError(artifact.file("model.onnx"), "does not return its own win rates")

    monkeypatch.setattr("routing_lab.training.mf.train.MatrixFactorizationRouter", refuse)
    monkeypatch.setattr(refuse, "type", "mf", raising=False)
    with pytest.raises(ArtifactError, match="its own win rates"):
        run(data, output, embeddings_folder, seed=1)
    assert contents(output) == before
    monkeypatch.undo()
    report = run(data, output, embeddings_folder, seed=1)
    assert report.resumed == EPOCHS  # nothing is trained twice
    assert contents(output) != before


def test_an_encoder_of_the_caller_s_is_copied_into_the_artifact(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    encoder = write_word_vector_encoder(load_embeddings(embeddings_folder), tmp_path / "encoder")
    (encoder.folder / "lost+found").mkdir()
    (encoder.folder / "lost+found" / "#1").write_text("not the encoder's")
    data = write_battles(300)
    run(data, tmp_path / "one", embeddings_folder, encoder=encoder.folder)
    run(data, tmp_path / "two", embeddings_folder)
    assert contents(tmp_path / "one")["model.onnx"] == contents(tmp_path / "two")["model.onnx"]
    assert not (tmp_path / "one" / "encoder" / "lost+found").exists()
    assert open_artifact(tmp_path / "one", "mf").manifest.provenance["encoder"]["revision"] == encoder.manifest.revision
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        run(data, tmp_path / "three", embeddings_folder, encoder=tmp_path / "none")


def test_kept_embeddings_of_a_large_encoder_are_not_made_again(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = write_word_vector_encoder(load_embeddings(embeddings_folder), tmp_path / "encoder")
    asked = request(write_battles(300), tmp_path / "out", embeddings_folder, encoder=encoder.folder)
    with pytest.raises(KeyboardInterrupt):
        train(asked, progress=interrupting)
    counted: list[int] = []

    def counting(artifact: Artifact, texts: Sequence[str]) -> Float32:
        counted.append(len(texts))
        return embed(artifact, texts)

    monkeypatch.setattr("routing_lab.training.mf.train.embed", counting)
    train(asked, progress=no_progress)
    assert counted == [len(SELF_TEST_PROMPTS)]


def test_the_manifest_says_how_it_was_made_and_holds_no_training_prompt(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    data = write_battles(300, outcomes=("model_a", "model_b", "model_b", "tie"))
    run(data, tmp_path / "out", embeddings_folder, seed=3, drop_ties=True)
    manifest = open_artifact(tmp_path / "out", "mf").manifest
    assert manifest.provenance["seed"] == 3
    assert manifest.provenance["data"][0]["rows"] == 300
    assert "--seed 3" in manifest.provenance["command"]
    assert "--drop-ties" in manifest.provenance["command"]
    assert manifest.options["model_ids"] == ["big", "small", "tiny"]
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert str(tmp_path) not in text
    prompts = [json.loads(json.loads(line)["prompt"])[0] for line in data.read_text().splitlines()]
    assert not any(prompt in text for prompt in prompts)


def test_a_benchmark_s_prompts_are_kept_out(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    data = write_battles(300)
    asked = [json.loads(json.loads(line)["prompt"])[0] for line in data.read_text().splitlines()[:40]]
    benchmark = tmp_path / "house.jsonl"
    benchmark.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in asked))
    with pytest.raises(UsageError, match="40 rows ask what house asks"):
        run(data, tmp_path / "out", embeddings_folder, report_on=[benchmark])
    report = run(data, tmp_path / "out", embeddings_folder, report_on=[benchmark], overlap=Overlap.DROP)
    assert report.battles == 260
    assert report.as_dict()["benchmarks"]["house"]["overlap"] == "dropped"
    assert "benchmark house: overlap dropped (40 battles)" in str(report)


@pytest.mark.parametrize(
    ("rows", "outcomes", "options", "problem"),
    [
        (50, (), {}, r"50 usable battles. At least 200"),
        (300, ("tie",), {}, "nothing but ties in all 300 battles"),
        (300, (), {"drop_ties": True}, "one and the same outcome whenever two models meet"),
        (300, ("tie",), {"drop_ties": True}, r"0 usable battles; 300 ties were dropped"),
        (300, (), {"strong_model": "huge"}, r"no model of the data is named 'huge'.*'big', 'small', 'tiny'"),
        (300, (), {"strong_model": "small"}, "are both 'small'"),
        (300, (), {"validation_share": 0.001}, r"leaves \d+ battles over \d+ prompts to validate on"),
    ],
)
def test_data_that_cannot_be_learnt_from(
    tmp_path: Path,
    embeddings_folder: Path,
    write_battles: WriteBattles,
    rows: int,
    outcomes: tuple[str, ...],
    options: dict[str, object],
    problem: str,
) -> None:
    with pytest.raises(UsageError, match=problem):
        run(write_battles(rows, outcomes=outcomes), tmp_path / "out", embeddings_folder, **options)
    assert not (tmp_path / "out.work").exists()


def test_a_few_prompts_asked_often_are_too_few_to_validate_on(tmp_path: Path, embeddings_folder: Path) -> None:
    data = tmp_path / "own.jsonl"
    rows = ({"prompt": f"p {i % 7}", "scores": {"big": i % 2, "small": 0.5}} for i in range(300))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match=r"over \d prompts to validate on; at least 20 prompts"):
        run(data, tmp_path / "out", embeddings_folder, validation_share=0.5)


def test_one_model_alone_is_no_battle(tmp_path: Path, embeddings_folder: Path) -> None:
    data = tmp_path / "own.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"p {i}", "scores": {"big": i % 2}}) + "\n" for i in range(300)))
    with pytest.raises(
        UsageError, match=r"own\.jsonl: none of its 300 rows .*: 300 do not score two models, only 'big'"
    ):
        run(data, tmp_path / "out", embeddings_folder)
    with data.open("a") as file:
        file.write(json.dumps({"prompt": "p", "scores": {"big": 1, "small": 0}}) + "\n")
    with pytest.raises(UsageError, match=r"1 usable battles; 300 more rows score one model only"):
        run(data, tmp_path / "out", embeddings_folder)


def test_without_ties_and_without_battles_of_the_pair(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    data = write_battles(300, outcomes=("model_a", "model_b", "model_b"))
    report = run(data, tmp_path / "out", embeddings_folder, strong_model="big", weak_model="tiny")
    assert report.metrics["validation"]["ties"] == 0
    assert report.metrics["by_source"] == {}
    assert "nothing was measured for the pair itself" in str(report)


def test_an_output_that_is_no_artifact_is_left_alone(
    tmp_path: Path, embeddings_folder: Path, write_battles: WriteBattles
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not an artifact"):
        run(write_battles(300), tmp_path / "out", embeddings_folder)
    assert not (tmp_path / "out.work").exists()


def test_word_vectors_are_the_mean_of_a_text_s_pieces(tmp_path: Path, embeddings_folder: Path) -> None:
    source = load_embeddings(embeddings_folder)
    artifact = write_word_vector_encoder(source, tmp_path / "encoder")
    embedder = OnnxEmbedder(artifact)
    found = embedder.embed(["prove theorem.", "", "[PAD]", "prove " * 600])
    ids = [source.vocabulary.index(piece) for piece in ("prove", "theorem", ".")]
    wanted = source.vectors[ids].mean(0)
    np.testing.assert_allclose(found.vectors[0], wanted / np.linalg.norm(wanted), atol=2e-3)
    assert (found.vectors[1] == 0).all()
    assert found.tokens == [3, 0, 5, 512]  # a prompt that spells a special token means its characters
    assert list(found.truncated) == [False, False, False, True]
