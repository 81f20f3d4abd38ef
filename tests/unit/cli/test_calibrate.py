"""`routing-service calibrate`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing_service.artifacts.loading import open_artifact
from routing_service.calibration.intervals import wilson
from routing_service.calibration.tables import read_table
from routing_service.calibration.thresholds import threshold_for_share
from tests.support.cli import PROMPTS, Run, complaint


def test_calibrate_reads_the_router_s_own_table(run: Run, config: Path) -> None:
    ran = run("calibrate", "--router", "static", "--strong-model-pct", "0.5", "0.25", "--config", config)
    assert ran.code == 0
    assert ran.out == (
        "For 50.0% strong model calls for static, threshold = 0.5\n"
        "For 25.0% strong model calls for static, threshold = 0.7\n"
    )


@pytest.mark.parametrize("share", ["0.07", "0.29", "0.55", "0.57", "0.123"])
def test_calibrate_writes_percentages_as_people_do(run: Run, config: Path, share: str) -> None:
    ran = run("calibrate", "--strong-model-pct", share, "--config", config)
    percent = {"0.123": "12.3"}.get(share, f"{int(share[2:])}.0")
    assert ran.out.startswith(f"For {percent}% strong model calls for static, threshold = ")


def test_calibrate_rounds_to_five_decimals(run: Run, config: Path) -> None:
    assert run("calibrate", "--strong-model-pct", "0.3333", "--config", config).out.endswith("threshold = 0.63336\n")


def test_calibrate_as_json(run: Run, config: Path, static_artifact: Path) -> None:
    manifest = open_artifact(static_artifact, "static").manifest
    assert manifest.calibration is not None
    ran = run("calibrate", "--strong-model-pct", "0.2", "--config", config, "--json")
    low, high = wilson(0.2, 5)
    quantiles = manifest.calibration.quantiles
    assert json.loads(ran.out) == {
        "router": "static",
        "router_revision": manifest.revision,
        "source": "a test",
        "sample_size": 5,
        "points": [
            {
                "strong_share": 0.2,
                "threshold": threshold_for_share(quantiles, 0.2),
                "realized_share": pytest.approx(0.2),
                "share_interval": pytest.approx([low, high]),
                "threshold_interval": [threshold_for_share(quantiles, high), threshold_for_share(quantiles, low)],
                "tied_share": None,
            }
        ],
    }


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "txt"])
def test_calibrate_on_prompts_of_one_s_own(
    run: Run, tmp_path: Path, config: Path, prompts: Path, rates: list[float], suffix: str
) -> None:
    path = prompts
    if suffix != "jsonl":
        path = tmp_path / f"prompts.{suffix}"
        lines = [f'"{prompt}"' for prompt in PROMPTS] if suffix == "csv" else PROMPTS
        path.write_text("\n".join((["prompt"] if suffix == "csv" else []) + lines), "utf-8")
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", path, "--config", config, "--json")
    answer = json.loads(ran.out)
    assert (answer["source"], answer["sample_size"]) == (str(path), 5)
    (point,) = answer["points"]
    assert point["realized_share"] == pytest.approx(0.4)
    assert np.mean(np.asarray(rates) >= point["threshold"]) == pytest.approx(0.4)


def test_calibrate_notes_a_share_that_equal_scores_make_impossible(run: Run, tmp_path: Path, config: Path) -> None:
    path = tmp_path / "same.txt"
    path.write_text("hello\n" * 10)
    ran = run("calibrate", "--strong-model-pct", "0.3", "--input", path, "--config", config)
    assert ran.code == 0
    assert ran.out == "For 30.0% strong model calls for static, threshold = 1.0\n"
    assert "0.0% of the 10 prompts" in ran.err
    assert "the closest there is, for 100.0% of the prompts have one score" in ran.err


def test_calibrate_tells_an_unknown_router(run: Run, config: Path) -> None:
    err = complaint(run("calibrate", "--router", "sttic", "--strong-model-pct", "0.5", "--config", config))
    assert "no router is named 'sttic'; did you mean 'static'?" in err


def test_calibrate_tells_a_router_without_a_table(
    run: Run, tmp_path: Path, build_artifact: Callable[..., Path]
) -> None:
    build_artifact(tmp_path / "bare", calibration=None)
    (tmp_path / "c.yaml").write_text("routers: {bare: {type: static, artifact: bare}}")
    err = complaint(run("calibrate", "--strong-model-pct", "0.5", "--config", tmp_path / "c.yaml"))
    assert "router 'bare' has no calibration table; give prompts of your own with --input" in err


def test_calibrate_tells_a_file_without_prompts(run: Run, tmp_path: Path, config: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    ran = run("calibrate", "--strong-model-pct", "0.5", "--input", tmp_path / "empty.txt", "--config", config)
    assert f"{tmp_path / 'empty.txt'}: has no rows; at least one is needed" in complaint(ran)
    (tmp_path / "blank.jsonl").write_text('{"id": 1, "prompt": " "}\n')
    ran = run("calibrate", "--strong-model-pct", "0.5", "--input", tmp_path / "blank.jsonl", "--config", config)
    assert "none of its 1 rows can be used: they have no text. Its columns: 'id', 'prompt'." in complaint(ran)


def test_calibrate_says_how_sure_it_is(run: Run, prompts: Path, config: Path) -> None:
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", prompts, "--config", config)
    low, high = wilson(0.4, 5)
    assert f"note: 40.0% of the 5 prompts; {low:.1%} to {high:.1%} of traffic like them" in ran.err


@pytest.mark.parametrize("strong_share", ["-0.1", "1.1", "nan", "half", "50", "50%"])
def test_calibrate_wants_shares_from_0_to_1(run: Run, strong_share: str) -> None:
    told = complaint(run("calibrate", "--strong-model-pct", strong_share), 2)
    assert "not a number from 0 to 1; write 0.5 for 50 %" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "one of --strong-model-pct, --target-quality, --budget, --output, --compare and --plot is needed"),
        ("--budget 1 --input f", "--budget needs --prices"),
        ("--budget 0", "not a number above 0"),
        ("--budget 1 --prices a=1/2 b", "'b' is not a price"),
        ("--budget 1 --prices a=1/2 b=1/nan", "not a price"),
        ("--target-quality 0.9", "a target needs --input"),
        ("--target-quality 0.9 --input f --output t", "--output does not go with a target"),
        ("--target-quality 0.9 --strong-model-pct 0.5", "not allowed with"),
        ("--output t.json", "--output needs --input"),
        ("--strong-model-pct 0.5 --max-prompts 5", "--max-prompts needs --input"),
        ("--strong-model-pct 0.5 --input f --max-prompts 0", "not a whole number"),
        ("--strong-model-pct 0.5 --fail-on-drift", "--fail-on-drift needs --compare"),
        ("--strong-model-pct 0.5 --prices a=1/2 b=1/2", "--prices needs --target-quality or --budget"),
        ("--strong-model-pct 0.5 --confidence 0.9", "--confidence needs --target-quality or --budget"),
        ("--strong-model-pct 0.5 --output-tokens 9", "--output-tokens needs --target-quality or --budget"),
        ("--strong-model-pct 0.5 --seed 0", "--seed needs --target-quality or --budget"),
        ("--strong-model-pct 0.5 --strong-model big", "--strong-model and --weak-model need --input"),
        ("--target-quality 0.9 --input f --confidence 0", "write a number above 0"),
        ("--target-quality 0.9 --input f --seed -1", "not a whole number"),
        ("--compare f --input g --output t", "--output does not go with --compare"),
        ("--compare f --plot t.svg", "--plot does not go with --compare"),
        ("--compare - --input -", "cannot both read standard input"),
        ("--output t --input f --address 127.0.0.1:1", "--output needs the router here"),
    ],
)
def test_calibrate_tells_wrong_usage(run: Run, arguments: str, says: str) -> None:
    assert says in complaint(run("calibrate", *arguments.split()), 2)


def test_calibrate_does_not_write_over_its_prompts(run: Run, prompts: Path, config: Path) -> None:
    before = prompts.read_bytes()
    same = prompts.parent / "." / "link"
    same.symlink_to(prompts)
    told = complaint(run("calibrate", "--input", prompts, "--output", same, "--config", config), 2)
    assert "--output would replace the prompts" in told
    assert prompts.read_bytes() == before


def test_calibrate_writes_a_table_to_standard_output(run: Run, prompts: Path, config: Path) -> None:
    ran = run("calibrate", "--input", prompts, "--output", "-", "--config", config)
    assert (ran.code, ran.err) == (0, "")
    table = json.loads(ran.out)
    assert (table["sample_size"], table["source"]) == (5, str(prompts))
    told = complaint(run("calibrate", "--input", prompts, "--output", "-", "--strong-model-pct", "0.5"), 2)
    assert "--output - writes the table to standard output, where nothing else may stand" in told


def test_the_same_rows_under_other_names_have_the_same_threshold(run: Run, tmp_path: Path, config: Path) -> None:
    content = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    first = None
    for name in ("p.jsonl", "p.jsonlines", "p.ndjson", "p.log", "p"):
        (tmp_path / name).write_text(content)
        ran = run("calibrate", "--strong-model-pct", "0.4", "--input", tmp_path / name, "--config", config)
        first = first or ran
        assert ran.out == first.out, name
        assert ("is read as JSON lines" in ran.err) == (name != "p.jsonl"), name


def test_calibrate_tells_a_model_that_the_router_does_not_score(run: Run, prompts: Path, config: Path) -> None:
    arguments = ("--strong-model-pct", "0.5", "--input", prompts, "--config", config)
    assert "'bgi'" in complaint(run("calibrate", *arguments, "--strong-model", "bgi"))
    for name in ("big", "org/Big"):
        assert run("calibrate", *arguments, "--strong-model", name).code == 0


# --- standard input -----------------------------------------------------------------------------------------


class Stdin:
    """Standard input with these bytes, and Ctrl-C at its end where that is wanted."""

    def __init__(self, content: bytes, *, interrupted: bool = False) -> None:
        self.buffer: Any = io.BytesIO(content)
        if interrupted:
            self.buffer = Interrupted(content)


class Interrupted(io.BytesIO):
    def read1(self, size: int | None = -1, /) -> bytes:
        if data := super().read1(size):
            return data
        raise KeyboardInterrupt


@pytest.mark.parametrize("form", ["lines", "json"])
def test_calibrate_reads_standard_input(
    run: Run, config: Path, rates: list[float], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"prompt": prompt}) if form == "json" else prompt for prompt in PROMPTS]
    monkeypatch.setattr("sys.stdin", Stdin("\n\n".join(["", *lines]).encode()))
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", "-", "--config", config, "--json")
    answer = json.loads(ran.out)
    assert ran.err == f"note: standard input is read as {'JSON lines' if form == 'json' else 'one prompt a line'}\n"
    assert (answer["source"], answer["sample_size"]) == ("standard input", 5)
    assert np.mean(np.asarray(rates) >= answer["points"][0]["threshold"]) == pytest.approx(0.4)


def test_calibrate_tells_the_line_of_standard_input(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(b'\n{"prompt": "a"}\n{"prompt": 3}\n'))
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", "-", "--config", config)
    assert "<stdin>:3: 'prompt' is not text" in complaint(ran)


def test_calibrate_tells_that_standard_input_is_closed(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as after `<&-` in a shell
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", "-", "--config", config)
    assert "standard input is closed" in complaint(ran)


def test_ctrl_c_ends_a_live_stream_with_its_answer(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(b"hello world\n" * 200, interrupted=True))
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", "-", "--config", config, "--json")
    answer = json.loads(ran.out)
    assert ran.code == 0
    assert answer["sample_size"] == 200
    monkeypatch.setattr("sys.stdin", Stdin(b"", interrupted=True))
    ran = run("calibrate", "--strong-model-pct", "0.4", "--input", "-", "--config", config)
    assert "interrupted" in complaint(ran)


def test_calibrate_stops_after_so_many_prompts(run: Run, prompts: Path, config: Path) -> None:
    ran = run("calibrate", "--strong-model-pct", "0.5", "--input", prompts, "--max-prompts", "2", "--json")
    assert json.loads(ran.out)["sample_size"] == 2


# --- tables -------------------------------------------------------------------------------------------------


def test_calibrate_saves_a_table_that_the_configuration_can_name(
    run: Run, tmp_path: Path, prompts: Path, config: Path, rates: list[float]
) -> None:
    saved = tmp_path / "own.json"
    ran = run("calibrate", "--output", saved, "--input", prompts, "--config", config)
    assert (ran.code, ran.out) == (0, "")
    assert f"the table is in {saved}" in ran.err
    table = read_table(saved)
    assert (table.calibration.source, table.calibration.sample_size) == (str(prompts), 5)
    assert table.calibration.quantiles == pytest.approx(np.quantile(rates, np.linspace(0, 1, 1001)).tolist())
    config.write_text(config.read_text().replace("type: static,", "type: static, calibration: own.json,"))
    ran = run("calibrate", "--strong-model-pct", "0.25", "--config", config, "--json")
    answer = json.loads(ran.out)
    assert (answer["source"], answer["sample_size"]) == (str(prompts), 5)
    assert answer["points"][0]["threshold"] == pytest.approx(np.quantile(rates, 0.75))


def test_a_stale_table_stops_what_uses_it_and_not_its_renewal(
    run: Run, tmp_path: Path, prompts: Path, config: Path
) -> None:
    saved = tmp_path / "own.json"
    run("calibrate", "--output", saved, "--input", prompts, "--config", config)
    saved.write_text(saved.read_text().replace(read_table(saved).router_revision, "0123456789abcdef"))
    config.write_text(config.read_text().replace("type: static,", "type: static, calibration: own.json,"))
    err = complaint(run("calibrate", "--strong-model-pct", "0.25", "--config", config))
    assert "routers.static.calibration" in err
    assert "'0123456789abcdef'" in err
    assert "--router static --input PROMPTS --output own.json" in err
    assert run("calibrate", "--output", saved, "--input", prompts, "--config", config).code == 0
    assert run("calibrate", "--strong-model-pct", "0.25", "--config", config).code == 0


def test_calibrate_tells_a_place_where_no_table_can_be(run: Run, tmp_path: Path, prompts: Path, config: Path) -> None:
    ran = run("calibrate", "--output", tmp_path / "none" / "t.json", "--input", prompts, "--config", config)
    assert "cannot be written" in complaint(ran)


def test_a_random_router_can_be_calibrated(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("hello\n" * 2000)
    (tmp_path / "c.yaml").write_text("routers: {dice: {type: random}}")
    ran = run(
        "calibrate",
        "--strong-model-pct",
        "0.3",
        "--input",
        tmp_path / "p.txt",
        "--config",
        tmp_path / "c.yaml",
        "--json",
    )
    (point,) = json.loads(ran.out)["points"]
    assert point["realized_share"] == pytest.approx(0.3)
    assert point["threshold"] == pytest.approx(0.7, abs=0.06)


def test_calibrate_tells_a_prompt_that_the_router_fails_at(
    run: Run, tmp_path: Path, config: Path, nan_character: str
) -> None:
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in ["a"] * 70 + [nan_character])
    )
    ran = run("calibrate", "--strong-model-pct", "0.3", "--input", tmp_path / "p.jsonl", "--config", config)
    assert ran.code == 1
    assert f"{tmp_path / 'p.jsonl'}:71: " in ran.err
    assert ran.out == ""


# --- pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_calibrate_draws(run: Run, tmp_path: Path, config: Path, suffix: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    pictures = [tmp_path / f"{name}.{suffix}" for name in ("one", "other")]
    for picture in pictures:
        ran = run("calibrate", "--strong-model-pct", "0.2", "0.8", "--plot", picture, "--config", config)
        assert ran.code == 0
        assert f"the picture is in {picture}" in ran.err
    first, second = (picture.read_bytes() for picture in pictures)
    assert first.startswith(start)
    assert first == second or suffix == "pdf"  # which says when it was made


@pytest.mark.parametrize("content", ["hello\n", "hello\n" * 9, "hello\nx\n"])
def test_the_oddest_samples_can_be_drawn(run: Run, tmp_path: Path, config: Path, content: str) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "p.txt").write_text(content)
    picture = tmp_path / "p.png"
    assert run("calibrate", "--plot", picture, "--input", tmp_path / "p.txt", "--config", config).code == 0
    assert picture.stat().st_size > 1000


def test_calibrate_tells_a_picture_that_it_cannot_draw(run: Run, tmp_path: Path, config: Path) -> None:
    ran = run("calibrate", "--plot", tmp_path / "p.gif", "--config", config)
    assert "is none of .svg, .png, .pdf" in complaint(ran)


def test_no_threshold_is_made_of_what_rules_decide(run: Run, config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + "\nasks: {rules: [{name: titles, pattern: '^Title', tier: weak}]}\n")
    path, mixed = tmp_path / "p.jsonl", tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    titles = json.dumps({"messages": [{"role": "user", "content": "Title for this"}]}) + "\n"
    mixed.write_text(titles + path.read_text() + titles)
    arguments = ("calibrate", "--strong-model-pct", "0.4", "--config", config, "--input")
    ran = run(*arguments, mixed)
    assert (ran.code, ran.out) == (0, run(*arguments, path).out)
    assert "2 of 7 rows of" in ran.err
    assert "are decided by rules and are left out" in ran.err
    path.write_text(titles)
    assert "none of its 1 rows can be used: rules decide them" in complaint(run(*arguments, path))
