"""``top`` in a real terminal emulator, as its user sees them: tmux says what is on the screen."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import needs
from tests.support.process import ROOT, command, environment

_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.05
PROMPT = "prompt>"


@dataclass(frozen=True)
class Pane:
    """One window of a tmux of our own."""

    socket: Path

    def tmux(self, *arguments: str) -> str:
        asked = [needs("tmux"), "-f", "/dev/null", "-S", str(self.socket), *arguments]
        variables = environment() | {"ENV": f"{self.socket}.rc", "LC_ALL": "C.UTF-8"}
        return subprocess.run(asked, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def run(self, *arguments: str) -> None:
        self.type(shlex.join(command(*arguments)), "Enter")

    def until(self, holds: Callable[[list[str]], object]) -> list[str]:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not holds(screen := self.tmux("capture-pane", "-p").splitlines()):
            assert time.monotonic() < deadline, "\n".join(screen)
            time.sleep(_POLL_SECONDS)
        return screen


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[Pane]:
    one = Pane(tmp_path / "tmux")
    Path(f"{one.socket}.rc").write_text(f"PS1='{PROMPT} '\n")
    one.tmux("new-session", "-d", "-x", "80", "-y", "24", "sh")
    try:
        one.until(lambda screen: PROMPT in screen[0])
        yield one
    finally:
        one.tmux("kill-server")


def footer(screen: list[str]) -> str:
    return screen[-1] if len(screen) == 24 else ""


def is_drawn(columns: int, screen: list[str]) -> bool:
    return footer(screen).startswith("1-11 of 11") and ("ISOLATION" in screen[2]) is (columns == 200)


def test_top(pane: Pane, url: str) -> None:
    pane.run("top", f"--url={url}", "--interval=300ms")
    # Drawn anew at each width, nothing is left of what was there before.
    for columns in (80, 200, 80):
        pane.tmux("resize-window", "-x", str(columns), "-y", "24")
        screen = pane.until(partial(is_drawn, columns))
        assert "11 containers have problems" in screen[0]
        assert screen[1].endswith(f"{url}, every 300ms")
        assert screen[2].startswith("CONTAINER")
        assert all(screen[3:14])
        assert screen[14:-1] == [""] * len(screen[14:-1])
        assert max(map(len, screen)) <= columns
        # Titles stand over their numbers.
        at = screen[2].index("LOST/S") + len("LOST/S")
        assert all(row[at - 1].isdigit() and row[at : at + 1].strip() == "" for row in screen[3:14])

    pane.type("q")
    after = pane.until(lambda screen: [line for line in screen if line][-1:] == [PROMPT])
    assert not any("CONTAINER" in line for line in after)  # the shell's own screen is back
