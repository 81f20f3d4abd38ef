"""Decisions that must not change unnoticed: make tests/golden/decisions.json again, after an intended change.

Usage: python scripts/golden.py

It starts the service with the configuration of the tests and asks for every request in tests/golden/requests.yaml. The
test imports `decisions` from here, so both ask in the same way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import json_format
from routing_client.proto import routing_service_pb2 as pb
from routing_client.proto import routing_service_pb2_grpc as pb_grpc
from routing_client.proxies import channel_options

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
CONFIG = FOLDER / "routing.yaml"
# Fields that differ from run to run.
VOLATILE = ("decisionId", "timing", "source")


def decisions(channel: grpc.Channel) -> dict[str, dict[str, Any]]:
    """Each request's decision as proto JSON, by the request's name, without the fields that differ from run to run."""
    stub = pb_grpc.RoutingServiceStub(channel)
    found = {}
    for case in yaml.safe_load((FOLDER / "requests.yaml").read_text(encoding="utf-8")):
        fields = {name: _spelled_out(value) for name, value in case["request"].items()}
        response = stub.Decide(json_format.ParseDict(fields, pb.DecideRequest()))
        decision = json_format.MessageToDict(response.decision)
        found[case["name"]] = {name: value for name, value in decision.items() if name not in VOLATILE}
    return found


def _spelled_out(value: Any) -> Any:
    if isinstance(value, dict) and "repeat" in value:
        return value["repeat"] * value["times"]
    return value


def main() -> None:
    """Start the service, ask, write, stop."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready")
        command = [sys.executable, "-m", "routing_service", "serve", "--address", "127.0.0.1:0"]
        process = subprocess.Popen([*command, "--config", str(CONFIG), "--ready-file", str(ready)])
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise SystemExit("the service did not start; its message is above")
                time.sleep(0.01)
            with grpc.insecure_channel(ready.read_text().strip(), channel_options(proxy=None)) as channel:
                found = decisions(channel)
        finally:
            process.terminate()
            process.wait(30)
    text = json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True)
    (FOLDER / "decisions.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
