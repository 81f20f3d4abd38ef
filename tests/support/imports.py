"""The imports of source files, read without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One imported module or name and where; `lazy` when only a call of a function, or a type checker, brings it in."""

    module: str
    place: str
    lazy: bool


def imports_in(path: Path, package: tuple[str, ...] = ()) -> Iterator[Import]:
    """Every import of a file; relative ones resolved against `package`, the parts of the package that holds it."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        place = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, place, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parts, *([node.module] if node.module else [])])
            # `from package import x` may name a module, so each name counts.
            yield from (Import(f"{base}.{alias.name}", place, lazy) for alias in node.names)
        inner = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from (found for statement in node.body for found in walk(statement, True))
            yield from (found for statement in node.orelse for found in walk(statement, lazy))
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inner)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), False)


def source_files(package: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The Python files of a package's folder, each with the parts of its dotted name, the file's own last."""
    for path in sorted(package.rglob("*.py")):
        yield path, path.relative_to(package.parent).with_suffix("").parts


def package_graph(packages: list[Path]) -> dict[str, set[str]]:
    """Which folder of these packages imports from which other, e.g. `lab.evals -> lab.data`. Lazy imports count.

    A folder and the one that holds it are one house: arrows between these two are left out. So is `__main__`, which is
    a door and no room.
    """
    files = {parts: path for package in packages for path, parts in source_files(package) if parts[-1] != "__main__"}
    folders = {".".join(parts[:-1]) for parts in files}
    graph: dict[str, set[str]] = {folder: set() for folder in folders}
    for parts, path in files.items():
        here = ".".join(parts[:-1])
        for found in imports_in(path, parts[:-1]):
            there = _folder(found.module, folders)
            if there is not None and not f"{there}.".startswith(f"{here}.") and not f"{here}.".startswith(f"{there}."):
                graph[here].add(there)
    return graph


def cycles(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Pairs of nodes that reach each other, each pair once."""
    reach = {node: _reachable(graph, node) for node in graph}
    return sorted((a, b) for a in graph for b in reach[a] if a < b and a in reach.get(b, set()))


def _folder(module: str, folders: set[str]) -> str | None:
    """The longest folder that the name is in."""
    parts = module.split(".")
    return next((name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in folders), None)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for node in graph.get(todo.pop(), set()) - seen:
            seen.add(node)
            todo.append(node)
    return seen
