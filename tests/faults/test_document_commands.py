"""Every command of every document is run, in order, each document in a folder with small data of its own.

`tests/docs/not_run.py` lists those that cannot be run, and why.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from routing_gateway.echo import serve_echo

from tests.docs.blocks import ROOT, blocks, commands, name_of, with_commands
from tests.docs.data import HashedVectors, make_data
from tests.docs.not_run import not_run
from tests.docs.sandbox import Sandbox
from tests.support.embedding_endpoint import FakeEmbeddingsEndpoint


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a folder."""
    target = tmp_path_factory.mktemp("plugin") / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", target, ROOT / "examples" / "plugin"], check=True, capture_output=True)
    return target


@pytest.fixture
def sandbox(tmp_path: Path, plugin: Path) -> Iterator[Sandbox]:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "site").symlink_to(plugin)
    make_data(tmp_path / "checkout")
    with FakeEmbeddingsEndpoint() as embeddings, serve_echo() as echo:
        embeddings.vectors = HashedVectors()
        sandbox = Sandbox(tmp_path, embeddings.base_url, echo.base_url)
        try:
            yield sandbox
        finally:
            sandbox.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", with_commands(), ids=name_of)
def test_the_commands_run_in_order(page: Path, sandbox: Sandbox) -> None:
    for block in blocks(page):
        sandbox.save(block)
        for command in commands(block):
            if not_run(command) is not None:
                continue
            printed = sandbox.run(command)
            # Figures of data that is not ours differ here. Those of the shipped router alone do not.
            if ".jsonl" not in command.text:
                assert set(command.output) <= set(printed.splitlines()), f"line {command.line}: {printed}"
