"""Write the names of protos/names.yaml everywhere they stand: protos, buf's settings, programs, documents.

Usage: python scripts/names.py

The names in force are read from where they are used, so names.yaml is edited first. `make names` also makes the Python
code and the baseline anew. A second run changes nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# Where names may stand. The generated Python code and the baseline are made anew instead.
PLACES = ("protos", "tests/wire", "clients", "docs", "README.md")
MADE = ("protos/names.yaml", "protos/baseline.binpb", "clients/python/")
FORMS = {
    "go_module": (r"[a-z0-9.-]+(/[A-Za-z0-9._-]+)+", "a module path such as example.com/routing-go"),
    "java_group": (r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", "a package such as com.example.routing"),
    "npm_scope": (r"@[a-z0-9][a-z0-9._-]*", "a scope such as @example"),
}


def wanted(root: Path) -> dict[str, str]:
    """The names of names.yaml.

    Raises:
        SystemExit: A name is missing, unknown, or not of its form.
    """
    found = yaml.safe_load((root / "protos" / "names.yaml").read_text(encoding="utf-8")) or {}
    if set(found) != set(FORMS):
        raise SystemExit(f"protos/names.yaml must hold {', '.join(FORMS)} and nothing else")
    for key, (form, example) in FORMS.items():
        if not isinstance(found[key], str) or not re.fullmatch(form, found[key]):
            raise SystemExit(f"protos/names.yaml: {key}: {found[key]!r} is not {example}")
    return dict(found)


def in_force(root: Path) -> dict[str, str]:
    """The names that the protos and the TypeScript program have now."""
    proto = (root / "protos/llmrouting/v1/routing_service.proto").read_text(encoding="utf-8")
    package = json.loads((root / "tests/wire/typescript/package.json").read_text(encoding="utf-8"))
    return {
        "go_module": _option(proto, "go_package").partition(";")[0].removesuffix("/llmrouting/v1"),
        "java_group": _option(proto, "java_package").removesuffix(".v1"),
        "npm_scope": package["name"].partition("/")[0],
    }


def rename(root: Path, files: list[Path]) -> list[Path]:
    """Put the wanted names in place of those in force; gives the files that changed.

    All names are replaced in one pass, so that a new name may hold an old one.
    """
    new = wanted(root)
    by_old = {old: new[key] for key, old in in_force(root).items()}
    # A name ends where a longer one would go on: `example.llmrouting` does not stand in `my.example.llmrouting2`.
    pattern = re.compile(rf"(?<![\w.@/-])({'|'.join(re.escape(old) for old in by_old)})(?![\w-])")
    changed = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        renamed = pattern.sub(lambda match: by_old[match[1]], text)
        if renamed != text:
            path.write_text(renamed, encoding="utf-8")
            changed.append(path)
    return changed


def places(root: Path) -> list[Path]:
    """The tracked files in which names may stand."""
    listed = subprocess.run(["git", "ls-files", "-z", *PLACES], cwd=root, check=True, capture_output=True).stdout
    names = [name for name in listed.decode().split("\0") if name and not name.startswith(MADE)]
    return [root / name for name in names if (root / name).suffix not in {".png", ".svg", ".binpb"}]


def _option(proto: str, name: str) -> str:
    found = re.search(rf'^option {name} = "(.*)";$', proto, flags=re.MULTILINE)
    if found is None:
        raise SystemExit(f"routing_service.proto has no option {name}")
    return found[1]


if __name__ == "__main__":
    for path in rename(ROOT, places(ROOT)):
        print(path.relative_to(ROOT))
