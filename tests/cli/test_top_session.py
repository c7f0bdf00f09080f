"""What a session does when a part of it fails: the terminal is given back, and the failure is told."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence

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
    """Notes what happens to it; ``on_draw`` may fail."""

    def __init__(self, on_draw: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self.keyboard, self.taken, self._on_draw = None, 0, on_draw

    @override
    def enter(self) -> None:
        self.taken += 1

    @override
    def leave(self) -> None:
        self.taken -= 1

    @override
    def draw(self, lines: Sequence[Text], size: os.terminal_size) -> None:
        self._on_draw("\n".join(line.plain for line in lines))


async def left(terminal: FakeTerminal, *answers: ContainersDocument | Exception) -> None:
    """A session with these answers, the last of which ends it."""
    rest = list(answers)

    async def fetch() -> ContainersDocument:
        answer = rest.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(LeftError):
        await Session(Board(), terminal, fetch, "test", 0.0).run()
    assert terminal.taken == 0


async def test_a_failure_while_drawing_gives_the_terminal_back() -> None:
    def draw(text: str) -> None:
        if "nobody there" in text:
            raise LeftError

    await left(FakeTerminal(draw), NoAnswerError("nobody there", reason="refused"))


async def test_numbers_that_come_again_take_the_problem_away(document: ContainersDocument) -> None:
    drawn: list[str] = []
    problem = NoAnswerError("nobody\x1b[2J there", reason="refused")
    document = copy.deepcopy(document)
    document["containers"][0]["pod"] = "checkout\x1b[2J"

    await left(FakeTerminal(drawn.append), document, problem, document, LeftError("a defect"))

    before, first, failed, again = drawn
    assert "waiting for the first numbers" in before
    assert r"checkout\x1b[2J" in first
    assert r"nobody\x1b[2J there" in failed
    assert "checkout" in failed
    assert "nobody" not in again
