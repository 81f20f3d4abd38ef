"""The commands of protos/README.md, as they stand there: code is generated, compiled, and calls a running service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from routing_client import InvalidRequestError, RoutingClient

from tests.support.services import ServiceProcess

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "protos" / "README.md").read_text(encoding="utf-8")
TOOLS = {"Go": ("go",), "Java": ("java", "mvn"), "TypeScript": ("node", "npm", "npx")}
# Downloads and first builds take their time on a small machine.
SECONDS = 900

pytestmark = pytest.mark.timeout(2 * SECONDS)


def commands(language: str) -> str:
    """The shell commands of a language's section."""
    section = README.partition(f"\n## {language}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL))


@pytest.fixture(scope="session")
def buf() -> Path:
    """buf, as `make protos-lint` installs it, or any on the PATH."""
    installed = ROOT / ".venv-protos" / "bin" / "buf"
    found = str(installed) if installed.exists() else shutil.which("buf")
    if found is None:
        pytest.skip("buf is missing; run `make protos-lint`, which installs it")
    return Path(found)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the commands read, in a folder of their own."""
    for name in ("protos", "tests/wire"):
        ignored = shutil.ignore_patterns("bin", "gen", "node_modules", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def environment(folder: Path, buf: Path) -> dict[str, str]:
    """This process's, with buf on the PATH and Go's plugins in a place of their own."""
    set_up = {**os.environ, "PATH": f"{buf.parent}{os.pathsep}{os.environ['PATH']}"}
    if shutil.which("go"):
        go = [str(shutil.which("go")), "env", "GOMODCACHE"]
        cache = subprocess.run(go, check=True, capture_output=True, text=True).stdout.strip()
        set_up |= {"GOPATH": str(folder / "go"), "GOMODCACHE": cache}
        set_up.pop("GOBIN", None)
    return set_up


@pytest.fixture(scope="module")
def expected(service: ServiceProcess) -> dict[str, Any]:
    """What each program must print, by Python's client."""
    with RoutingClient(service.address) as client:
        chat = [{"role": "user", "content": "Prove that √2 is irrational."}]
        decision = client.decide(chat, threshold=0.5, explain=True)
        with pytest.raises(InvalidRequestError) as caught:
            client.decide("Hi", threshold=7)
    failure = {"code": 3, "reason": f"ERROR_REASON_{caught.value.reason}", "field": caught.value.field}
    assert decision.explanation is not None
    return {
        "model": decision.model,
        "tier": f"TIER_{decision.tier.name}",
        "win_rate": decision.strong_win_rate,
        "threshold": 0.5,
        "source": "SCORE_SOURCE_CACHED",
        "generation": 1,
        "bytes": decision.explanation.spans[0].end,
        "failed": failure,
        "item": failure,
    }


@pytest.mark.parametrize("language", TOOLS)
def test_the_readmes_commands_work(
    language: str, checkout: Path, buf: Path, service: ServiceProcess, expected: dict[str, Any]
) -> None:
    missing = [tool for tool in TOOLS[language] if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing; install {language}'s tools")
    script = commands(language).replace("127.0.0.1:50051", service.address)
    assert service.address in script
    done = subprocess.run(
        [str(shutil.which("bash")), "-euo", "pipefail", "-c", script],
        cwd=checkout / "protos",
        env=environment(checkout, buf),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    printed = done.stdout.splitlines()[-1]
    # Maven ends with colour codes and no newline.
    assert json.loads(printed[printed.index("{") :]) == expected


def test_every_languages_plugins_are_in_the_file_for_all() -> None:
    def plugins(name: str) -> Iterator[str]:
        text = (ROOT / "protos" / name).read_text(encoding="utf-8")
        yield text.partition("plugins:\n")[2]

    each = [part for language in TOOLS for part in plugins(f"buf.gen.{language.lower()}.yaml")]
    assert list(plugins("buf.gen.yaml")) == ["".join(each)]


def test_the_readmes_versions_are_those_of_the_programs() -> None:
    """Code of a generator needs its runtime to be at least as new."""
    go = (ROOT / "tests/wire/go/go.mod").read_text(encoding="utf-8")
    assert re.findall(r"protoc-gen-go@(\S+)", README) == re.findall(r"google.golang.org/protobuf (\S+)", go)
    pom = (ROOT / "tests/wire/java/pom.xml").read_text(encoding="utf-8")
    versions = dict(re.findall(r"<(grpc|protobuf).version>(.*)</", pom))
    assert re.findall(r"protoc:([\d.]+)$", README, flags=re.MULTILINE) == [versions["protobuf"]]
    assert re.findall(r"protoc-gen-grpc-java:([\d.]+)$", README, flags=re.MULTILINE) == [versions["grpc"]]
