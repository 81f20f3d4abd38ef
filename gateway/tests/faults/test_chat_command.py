"""`chat` starts three servers, and whatever ends it ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gated_router import CONFIG as GATED
from tests.support.gated_router import Gate, gate

from ..chat_process import Chat, eventually, is_running, start
from ..conftest import LIMIT_S

__all__ = ["gate", "start"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_even_while_an_answer_streams(start: Callable[..., Chat], number: int) -> None:
    chat = start("--no-browser")
    assert len(chat.children) == 1
    body = {"model": "gpt-4#endless", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with chat.open("/v1/chat/completions", body) as answer:
        assert answer.readline().startswith(b"data: ")
        chat.process.send_signal(number)
        code, _, err = chat.ended()
    assert (code, err) == (0, "")


def test_a_hang_up_ends_nothing_even_where_it_was_ignored(start: Callable[..., Chat]) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        chat = start("--no-browser")
    finally:
        signal.signal(signal.SIGHUP, ignored)
    for _ in range(2):
        for process in (chat.process.pid, *chat.children):
            os.kill(process, signal.SIGHUP)
        assert chat.told()
    assert chat.process.stderr is not None
    assert chat.process.stderr.readline().startswith("SIGHUP changes nothing")
    chat.process.terminate()
    code, _, err = chat.ended()
    assert (code, err) == (0, "")


def test_a_service_that_a_service_manager_stops_too_is_not_missed(start: Callable[..., Chat]) -> None:
    chat = start("--no-browser")
    for process in (chat.process.pid, *chat.children):
        os.kill(process, signal.SIGTERM)
    code, _, err = chat.ended()
    assert (code, err) == (0, "")


@pytest.mark.parametrize("stop", [[signal.SIGKILL], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGINT]])
def test_a_service_that_hangs_while_it_loads_ends_with_the_chat(gate: Gate, tmp_path: Path, stop: list[int]) -> None:
    gate.close_in_c()
    (tmp_path / "routing.yaml").write_text(GATED)
    words = [sys.executable, "-m", "routing_service", "chat", "--port", "0", "--no-browser"]
    process = subprocess.Popen([*words, "--config", str(tmp_path / "routing.yaml")])
    (service,) = gate.loading(1)
    for number in stop:
        process.send_signal(number)
    # The second one may find that all has ended, and two at the same time come in the order of their numbers.
    assert process.wait(LIMIT_S) in (-signal.SIGKILL, 0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
    eventually(lambda: not is_running(service))


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
