"""What a session does when a part of it fails: the terminal is given back, and the failure is told."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import pytest
from rich.text import Text
from typing_extensions import override

from exporter.cli.board import Board
from exporter.cli.screen import Session, Terminal
from exporter.cli.source import NoAnswerError
from exporter.report.schema import ContainersDocument


class LeftError(Exception):
    """Ends a session from within a test."""


class FakeTerminal(Terminal):
    """Notes what happens to it; drawing ``fatal`` fails."""

    def __init__(self, fatal: str = "") -> None:
        super().__init__()
        self.keyboard, self.taken, self.drawn, self._fatal = None, 0, list[str](), fatal

    @override
    def enter(self) -> None:
        self.taken += 1

    @override
    def leave(self) -> None:
        self.taken -= 1

    @override
    def draw(self, lines: Sequence[Text], size: os.terminal_size) -> None:
        self.drawn.append("\n".join(line.plain for line in lines))
        if self._fatal and self._fatal in self.drawn[-1]:
            raise LeftError


async def left(terminal: FakeTerminal, *answers: ContainersDocument | Exception) -> None:
    """A session with these answers, the last of which ends it."""
    rest = iter(answers)

    async def fetch() -> ContainersDocument:
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(LeftError):
        await Session(Board(), terminal, fetch, "test", 0.0).run()
    assert terminal.taken == 0


async def test_numbers_that_come_again_take_the_problem_away(document: ContainersDocument) -> None:
    # A failure while drawing gives the terminal back.
    await left(FakeTerminal("nobody there"), NoAnswerError("nobody there"))
    terminal, problem = FakeTerminal(), NoAnswerError("nobody\x1b[2J there")
    document = copy.deepcopy(document)
    document["containers"][0]["pod"] = "checkout\x1b[2J"

    await left(terminal, document, problem, document, LeftError("a defect"))

    before, first, failed, again = terminal.drawn
    assert "waiting for the first numbers" in before
    assert r"checkout\x1b[2J" in first
    assert r"nobody\x1b[2J there" in failed
    assert "checkout" in failed
    assert "nobody" not in again
