"""The fenced blocks of a document, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts)
]
# Their commands have a test of their own.
ELSEWHERE = {"protos/README.md": "tests/wire runs them, with the tools of Go, Java and Node"}
LANGUAGES = {"bash", "console", "csv", "json", "mermaid", "proto", "python", "sh", "text", "toml", "yaml"}
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", flags=re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"<!-- file: (?P<name>[\w./-]+) -->\n$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    """Where it begins, from 1."""
    file: str | None
    """The name under which a reader would save it: `<!-- file: NAME -->` stands on the line above it."""


@dataclass(frozen=True)
class Command:
    """A command line, without its comment's `#`, and what the document says that it prints."""

    text: str
    line: int
    output: tuple[str, ...] = ()


def name_of(page: Path) -> str:
    """A document's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def with_commands() -> list[Path]:
    """The documents that have commands to run here."""
    return [page for page in PAGES if name_of(page) not in ELSEWHERE and any(commands(b) for b in blocks(page))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a document."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        above = _FILE.search(text[: found.start()])
        yield Block(
            found["language"],
            found["text"],
            text.count("\n", 0, found.start()) + 1,
            above["name"] if above else None,
        )


def commands(block: Block) -> list[Command]:
    """The commands of a block: all lines of `sh`, those after `$ ` of `console`; one may go over several lines."""
    if block.language == "sh":
        return list(_statements(block.text.splitlines(), block.line + 1))
    if block.language != "console":
        return []
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ "), number))
        elif found:
            last = found.pop()
            found.append(Command(last.text, last.line, (*last.output, line)))
    return found


def _statements(lines: list[str], first: int) -> Iterator[Command]:
    """Lines, joined where a backslash or an open quotation mark goes on to the next."""
    waiting, start = "", first
    for number, line in enumerate(lines, first):
        if not waiting:
            start = number
        waiting += f"{line}\n"
        if line.endswith("\\"):
            continue
        try:
            words = shlex.split(waiting, comments=True)
        except ValueError:
            continue
        if words:
            yield Command(waiting.strip().replace("\\\n", ""), start)
        waiting = ""
