"""The commands of the documents can be typed: `make test-faults` runs them, here their arguments are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import LANGUAGES, PAGES, Command, blocks, commands, name_of, with_commands
from tests.docs.not_run import NOT_RUN, check_arguments, not_run


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_language(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"line {block.line}: {block.language or 'no language'}"


@pytest.mark.parametrize("page", with_commands(), ids=name_of)
def test_arguments_are_known(page: Path) -> None:
    for block in blocks(page):
        for command in commands(block):
            (not_run(command) or check_arguments)(command)


def test_each_reason_is_of_use() -> None:
    """When the last such command goes, its reason goes too."""
    texts = [command.text for page in with_commands() for block in blocks(page) for command in commands(block)]
    for start, reason, _ in NOT_RUN:
        assert any(re.match(start, text) for text in texts), f"{start}: {reason}"


def test_blocks_and_commands_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "text\n<!-- file: a.yaml -->\n```yaml\nb: 1\n```\n"
        "```sh\n# only words\none \\\n  two\nthree '{\n}' # four\n```\n"
        "```console\n$ five\nsix\n$ seven\n```\n"
    )
    yaml, sh, console = blocks(page)
    assert (yaml.language, yaml.file, yaml.text, yaml.line) == ("yaml", "a.yaml", "b: 1\n", 3)
    assert commands(yaml) == []
    assert commands(sh) == [Command("one   two", 8), Command("three '{\n}' # four", 10)]
    assert commands(console) == [Command("five", 14, ("six",)), Command("seven", 16)]


def test_an_unknown_argument_is_found() -> None:
    with pytest.raises(SystemExit):
        check_arguments(Command("routing-service serve --no-such-thing", 1))
