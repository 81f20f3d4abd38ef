"""`chat` starts three servers, and whatever ends it ends them all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Run, complaint

SECRET = "a secret prompt"


def eventually(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there and is no zombie that waits for its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@dataclass
class Chat:
    """A running `chat`."""

    process: subprocess.Popen[str]
    url: str
    children: list[int]

    def open(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a GET, or to a POST with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})  # noqa: S310 - ours
        return urllib.request.urlopen(request, timeout=30)  # noqa: S310 - ours

    def told(self) -> Any:
        with self.open("/api/routers") as answer:
            return json.load(answer)

    def ended(self) -> tuple[int, str, str]:
        """The exit code, standard output and standard error; nothing that it started is left."""
        out, err = self.process.communicate(timeout=60)
        eventually(lambda: not any(is_running(pid) for pid in self.children))
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    if not Path("/proc/self/task").exists():
        pytest.skip("not here: a process's children are read from /proc, which only Linux has")
    started: list[Chat] = []
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: Any, env: dict[str, str] | None = None) -> Chat:
        ready = tmp_path / "chat-ready"
        command = [sys.executable, "-m", "routing_service", "chat", "--port", "0", "--ready-file", ready]
        process = subprocess.Popen(
            [str(word) for word in [*command, *arguments]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BROWSER": "false", **(env or {})},
        )
        processes.append(process)
        eventually(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        started.append(Chat(process, f"http://{ready.read_text().strip()}", [int(pid) for pid in children]))
        return started[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    eventually(lambda: not any(is_running(pid) for each in started for pid in each.children))


def test_the_page_decisions_and_answers_are_there_without_any_endpoint(start: Callable[..., Chat]) -> None:
    chat = start("--no-browser")
    with chat.open("/") as page:
        assert b"<title>Routing</title>" in page.read()
    told = chat.told()
    assert told["echo"] is True
    prices = {model["name"]: model["input_price"] for model in told["models"]}
    assert prices[told["strong_model"]] > prices[told["weak_model"]] > 0
    for threshold, expected in ((0, told["strong_model"]), (1, told["weak_model"])):
        body = {"model": f"router-static-{threshold}", "messages": [{"role": "user", "content": SECRET}]}
        with chat.open("/v1/chat/completions", body) as answer:
            assert answer.headers["x-routing-model"] == expected
            assert SECRET in json.load(answer)["choices"][0]["message"]["content"]
    chat.process.send_signal(signal.SIGINT)
    code, out, err = chat.ended()
    assert (code, err) == (0, "")
    assert f"Chat page:   {chat.url}\n" in out
    assert "router-static-50pct" in out
    assert SECRET not in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_even_while_an_answer_streams(start: Callable[..., Chat], number: int) -> None:
    chat = start("--no-browser")
    assert len(chat.children) == 1
    body = {"model": "gpt-4#endless", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with chat.open("/v1/chat/completions", body) as answer:
        assert answer.readline().startswith(b"data: ")
        chat.process.send_signal(number)
        code, _, err = chat.ended()
    assert (code, err) == (0, "")


def test_answers_of_own_endpoints_are_cut_off_without_a_word(start: Callable[..., Chat], tmp_path: Path) -> None:
    from routing_gateway.echo import serve_echo

    endpoints = tmp_path / "gateway.yaml"
    with serve_echo() as upstream:
        endpoints.write_text(f'default: {{base_url: "{upstream.base_url}"}}')
        chat = start("--no-browser", "--gateway-config", endpoints)
        body = {"model": "gpt-4#endless", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        with chat.open("/v1/chat/completions", body) as answer:
            assert answer.readline().startswith(b"data: ")
            chat.process.send_signal(signal.SIGINT)
            code, _, err = chat.ended()
    assert (code, err) == (0, "")


def test_when_the_decision_service_dies_all_ends_and_says_so(start: Callable[..., Chat]) -> None:
    chat = start("--no-browser")
    os.kill(chat.children[0], signal.SIGKILL)
    code, _, err = chat.ended()
    assert code == 1
    assert err == ("routing-service: error: the decision service has ended (exit code -9), and so has the chat\n")


def test_when_the_chat_is_killed_nothing_is_left(start: Callable[..., Chat], tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    chat = start("--no-browser", env={"TMPDIR": str(scratch)})
    assert is_running(chat.children[0])
    chat.process.kill()
    chat.ended()
    assert not list(scratch.glob("routing-service-*"))


def test_stopping_while_the_service_still_starts_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "routing_service", "chat", "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not listed.exists():
        process.kill()
        process.communicate()
        pytest.skip("not here: a process's children are read from /proc, which only Linux has")
    eventually(lambda: listed.read_text().split())
    (child,) = (int(pid) for pid in listed.read_text().split())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert not is_running(child)


def test_the_browser_gets_the_pages_address(start: Callable[..., Chat], tmp_path: Path) -> None:
    script, opened = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.tmp && mv {opened}.tmp {opened}\n')
    script.chmod(0o755)
    chat = start(env={"BROWSER": f"{script} %s"})
    eventually(opened.exists)
    assert opened.read_text() == f"{chat.url}\n"
    chat.process.terminate()
    assert chat.ended()[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a screen, or say so in another way")
def test_without_a_screen_no_text_browser_takes_the_terminal(start: Callable[..., Chat], tmp_path: Path) -> None:
    # Python finds these by their names when there is no other.
    opened = tmp_path / "opened"
    for name in ("www-browser", "links", "elinks", "lynx", "w3m", "xdg-open"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {opened}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    chat = start(env={"PATH": path, "BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""})
    chat.told()
    chat.process.terminate()
    assert chat.ended()[0] == 0
    assert not opened.exists()


def test_own_endpoints_and_own_routers(start: Callable[..., Chat], config: Path, tmp_path: Path) -> None:
    endpoints = tmp_path / "gateway.yaml"
    endpoints.write_text(
        """
service: 127.0.0.1:1
strong_model: big
weak_model: small
models:
  big: {base_url: "http://127.0.0.1:9/v1", input_price: 2}
  small: {base_url: "http://127.0.0.1:9/v1"}
"""
    )
    chat = start("--no-browser", "--config", config, "--gateway-config", endpoints)
    told = chat.told()
    assert (told["echo"], told["strong_model"]) == (False, "big")
    assert {router["name"] for router in told["routers"]} == {"static", "odds"}
    assert [policy["name"] for policy in told["policies"]] == ["cheap", "even"]
    with chat.open("/api/decide", {"prompt": "hello", "router": "odds", "threshold": 0}) as answer:
        assert json.load(answer)["model"] == "big"
    chat.process.terminate()
    code, out, _ = chat.ended()
    assert code == 0
    assert "offline echo" not in out


def test_a_port_that_is_taken_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = complaint(run("chat", "--no-browser", "--port", port))
    assert f"cannot listen on 127.0.0.1:{port}: address already in use; stop" in err
    assert "--port" in err


def test_a_ready_file_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ready"
    err = complaint(run("chat", "--no-browser", "--port", 0, "--ready-file", path))
    assert f"--ready-file {path} cannot be written: no such file or directory" in err
    assert "listen" not in err


def test_a_configuration_that_is_wrong_is_told_as_serve_tells_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text("routers: {mine: {type: sttic}}")
    err = complaint(run("chat", "--no-browser", "--port", 0, "--config", path))
    assert "the decision service did not start: " in err
    assert "sttic" in err


@pytest.mark.parametrize("text", ["models: [", "models: {a: {base_url: 3}}", "strong_model: a"])
def test_endpoints_that_are_wrong_are_told(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    assert "gateway" in complaint(run("chat", "--no-browser", "--port", 0, "--gateway-config", path))


@pytest.mark.parametrize("port", ["x", "-1", "65536"])
def test_a_port_that_is_none_is_wrong_usage(run: Run, port: str) -> None:
    assert "no port from 0 to 65535" in complaint(run("chat", f"--port={port}"), code=2)


def test_help_has_an_example(run: Run) -> None:
    assert "Example: routing-service chat --gateway-config gateway.yaml" in " ".join(run("chat", "--help").out.split())
