"""The command `export-onnx`: help, usage, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from export_onnx import cli, graph
from routing_service.errors import UsageError
from tests.support.without import run_without

TYPES = ("mf", "bert", "causal_llm", "sw_ranking", "encoder")


def exit_code(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


def test_help_lists_every_type_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in TYPES)
    assert "Example: export-onnx" in text
    code = (
        "import sys, contextlib, export_onnx.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--help'])\n"
        "sys.exit(any(name in sys.modules for name in ('onnx', 'torch', 'transformers', 'export_onnx.bert')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("kind", TYPES)
def test_help_of_each_type_has_an_example(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(kind, "--help") == 0
    text = capsys.readouterr().out
    assert f"Example: export-onnx {kind}" in text
    assert "--output" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "TYPE"),
        (("brt",), "invalid choice: 'brt'"),
        (("bert",), "--checkpoint, --output"),
        (("bert", "--checkpoint", "a", "--output", "b", "--quantize", "int4"), "invalid choice: 'int4'"),
        (("bert", "--checkpoint", "a", "--output", "b", "--colour"), "--colour"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*arguments) == 2
    message = capsys.readouterr().err
    assert says in message
    assert "--help" in message


def stand_in(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    module = SimpleNamespace(add_arguments=lambda parser: parser.add_argument("--more"), run=run)
    monkeypatch.setattr(cli, "require", lambda *_: None)
    monkeypatch.setattr(cli, "import_module", lambda _: module)


def test_the_report_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, lambda options: f"{options.checkpoint} {options.output} {options.quantize} {options.more}")
    assert cli.main(["mf", "--checkpoint", "a", "--output", "b", "--quantize", "int8", "--more", "c"]) == 0
    assert capsys.readouterr().out == f"a {Path('b')} int8 c\n"


@pytest.mark.parametrize("error", [UsageError("that is wrong"), KeyboardInterrupt()])
def test_what_goes_wrong_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def run(_: Any) -> str:
        raise error

    stand_in(monkeypatch, run)
    assert cli.main(["mf", "--checkpoint", "a", "--output", "b"]) == 1
    assert capsys.readouterr().err == f"export-onnx: error: {error or 'interrupted'}\n".replace(
        "error: \n", "error: interrupted\n"
    )


EXTRA = ("onnx", "torch", "transformers", "safetensors", "huggingface_hub", "pyarrow", "sentencepiece")


def test_without_the_extra_there_is_help_and_it_is_named() -> None:
    battles, checkpoint = ["--battles", "a", "--embeddings", "a"], ["--checkpoint", "a"]
    asks = [[kind, *(battles if kind == "sw_ranking" else checkpoint), "--output", "b"] for kind in TYPES]
    ran = run_without(EXTRA, "export_onnx.cli", *([kind, "--help"] for kind in TYPES), *asks)
    for kind, helped, asked in zip(TYPES, ran[: len(asks)], ran[len(asks) :], strict=True):
        assert (helped.returncode, helped.stderr) == (0, "")
        assert f"Example: export-onnx {kind}" in helped.stdout
        assert (asked.returncode, asked.stdout) == (1, "")
        package = "onnx" if kind in {"mf", "sw_ranking"} else "torch"
        assert asked.stderr == (
            f"export-onnx: error: exporting needs {package}; run: pip install 'routing-service[export]' "
            "(in a checkout: pip install '.[export]')\n"
        )


def test_element_types_have_onnx_s_numbers() -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    for name in ("FLOAT", "FLOAT16", "INT64", "BOOL"):
        assert getattr(graph, name) == getattr(onnx.TensorProto, name)
