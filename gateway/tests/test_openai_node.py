"""The official OpenAI SDK for Node, and curl, against the gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from routing_gateway.echo import RunningEcho

from .conftest import Gateway

NODE = Path(__file__).parent / "node"


def test_node_sdk(gateway: Gateway, echo: RunningEcho) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (NODE / "node_modules" / "openai").is_dir():
        pytest.skip(f"the SDK is not installed; run: npm ci --prefix {NODE}")
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", "gateway.test.mjs"],
        cwd=NODE,
        env={**os.environ, "GATEWAY_URL": gateway.base_url, "ECHO_URL": echo.base_url.removesuffix("/v1")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    written = (NODE / "gateway.test.mjs").read_text().count("\ntest(")
    assert f"pass {written}" in done.stdout


@pytest.fixture
def curl() -> str:
    path = shutil.which("curl")
    if path is None:
        pytest.skip("curl is not installed")
    return path


def test_curl(curl: str, gateway: Gateway) -> None:
    body = json.dumps({"model": "router-fake-0.5", "messages": [{"role": "user", "content": "a hard one"}]})
    command = [curl, "--silent", "--fail", "--max-time", "20", f"{gateway.base_url}/chat/completions", "--json", body]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["model"] == "big"


def test_curl_streams(curl: str, gateway: Gateway) -> None:
    body = json.dumps(
        {"model": "router-fake-0.5", "stream": True, "messages": [{"role": "user", "content": "an easy one"}]}
    )
    command = [curl, "--silent", "--include", "--no-buffer", "--max-time", "20", f"{gateway.base_url}/chat/completions"]
    done = subprocess.run([*command, "--json", body], capture_output=True, text=True, check=True)
    assert "content-type: text/event-stream" in done.stdout
    assert "x-routing-tier: weak" in done.stdout
    assert done.stdout.endswith("data: [DONE]\n\n")
