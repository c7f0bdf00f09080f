"""``top`` in a terminal: it takes it over, obeys keys and signals, and gives it back however it ends."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import lab
from tests.cli.pseudoterminal import ENTER, LEAVE, SHOW_CURSOR, Terminal, in_terminal
from tests.support.process import command, run

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def plain(text: str) -> str:
    return _CONTROL.sub("", text)


def complete(text: str) -> bool:
    return "11 containers" in text and "q quit" in text


@pytest.fixture
def top(url: str) -> Iterator[Terminal]:
    with in_terminal(command("top", f"--url={url}", "--interval=500ms")) as terminal:
        before = terminal.modes()
        terminal.until(complete)
        assert terminal.seen.startswith(ENTER) or ENTER in terminal.seen[:50]
        yield terminal
        assert LEAVE in terminal.seen
        assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(ENTER)
        assert terminal.modes() == before
        assert "Traceback" not in terminal.seen


@pytest.mark.parametrize(("end", "code"), [("q", 0), ("\x03", 0), (signal.SIGTERM, 128 + 15), (signal.SIGHUP, 128 + 1)])
def test_keys_and_signals_leave_it_in_order(top: Terminal, end: str | signal.Signals, code: int) -> None:
    assert "checkout" in plain(top.seen)
    if isinstance(end, str):
        top.type(end)
    else:
        top.process.send_signal(end)

    assert top.wait() == code


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(top: Terminal) -> None:
    watching, at = top.modes(), len(top.seen)
    top.type("\x1a")
    top.until(lambda text: LEAVE in text, at)
    os.waitid(os.P_PID, top.process.pid, os.WSTOPPED | os.WNOWAIT)
    assert top.modes() != watching

    at = len(top.seen)
    top.process.send_signal(signal.SIGCONT)
    top.until(lambda text: ENTER in text and complete(text), at)
    assert top.modes() == watching
    top.type("q")
    assert top.wait() == 0


def test_without_an_exporter_it_samples_by_itself(tmp_path: Path) -> None:
    words = command("top", "--local", "--interval=300ms")
    with lab(tmp_path) as still, in_terminal([*words, *still.options]) as terminal:
        before = terminal.modes()
        text = plain(terminal.until(complete))
        assert "sampling here" in text
        terminal.type("q")
        assert terminal.wait() == 0
        assert terminal.modes() == before
    assert "level=" not in terminal.seen


def test_without_keys_it_still_runs(url: str) -> None:
    # kubectl exec -t without -i.
    shell = ["sh", "-c", " ".join(command("top", f"--url={url}", "--interval=200ms")) + " </dev/null"]
    with in_terminal(shell) as terminal:
        terminal.until(complete)
        os.killpg(terminal.process.pid, signal.SIGINT)
        terminal.wait()
    assert LEAVE in terminal.seen


def test_into_a_pipe_it_prints_one_table(url: str) -> None:
    result = run("top", f"--url={url}")

    assert (result.returncode, result.stderr) == (0, "")
    head, *rows = result.stdout.splitlines()
    assert (head.split()[:2], len(rows), "\x1b" in result.stdout) == (["CONTAINER", "THR"], 11, False)
    assert rows[0].startswith("shop/checkout-7d9f8b6c5d-x2k9p/app")


def test_a_namespace_without_containers_is_said(url: str) -> None:
    said = run("top", f"--url={url}", "--namespace=shp")

    assert said.stdout.splitlines()[1:] == []
    assert said.stderr == "no container in namespace 'shp' on node node-1\n"


@pytest.mark.parametrize(("option", "kind"), [("--once", "xterm"), ("--interval=2s", "dumb"), ("--interval=2s", "")])
def test_once_or_where_nothing_can_be_redrawn_it_is_one_table_that_fits(url: str, option: str, kind: str) -> None:
    with in_terminal(command("top", option, f"--url={url}"), TERM=kind) as terminal:
        assert terminal.wait() == 0

    lines = plain(terminal.seen).splitlines()
    assert len(lines) == 12
    assert max(map(len, lines)) <= 80
    assert ENTER not in terminal.seen
