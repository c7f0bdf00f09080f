"""What a session does when a part of it fails: the terminal is given back, and the failure is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from rich.text import Text
from typing_extensions import override

from exporter.cli.board import Board
from exporter.cli.screen import Session, Terminal
from exporter.cli.source import NoAnswerError
from exporter.report import ContainersDocument


class FakeTerminal(Terminal):
    """Notes what happens to it; ``on_draw`` may fail."""

    def __init__(self, on_draw: Callable[[str], None] = lambda _: None) -> None:
        super().__init__({"TERM": "dumb"})
        self.keyboard = None
        self.taken = 0
        self._on_draw = on_draw

    @override
    def enter(self) -> None:
        self.taken += 1

    @override
    def leave(self) -> None:
        self.taken -= 1

    @override
    def draw(self, lines: Sequence[Text], *, news: bool) -> None:
        self._on_draw("\n".join(line.plain for line in lines))


class LeftError(Exception):
    """Ends a session from within a test."""


async def test_a_failure_while_drawing_gives_the_terminal_back() -> None:
    def draw(text: str) -> None:
        if "All 0" not in text and "waiting" not in text:
            raise LeftError(text)

    async def fetch() -> ContainersDocument:
        raise NoAnswerError("nobody there", reason="refused")

    screen = FakeTerminal(draw)
    with pytest.raises(LeftError, match="nobody there"):
        await Session(Board(), screen, fetch, source="test", interval=0.01).run()

    assert screen.taken == 0


async def test_a_defect_while_fetching_is_raised_and_not_hidden() -> None:
    async def fetch() -> ContainersDocument:
        raise LeftError("a defect")

    screen = FakeTerminal()
    with pytest.raises(LeftError):
        await Session(Board(), screen, fetch, source="test", interval=0.01).run()

    assert screen.taken == 0


async def test_numbers_that_come_again_take_the_problem_away(document: ContainersDocument) -> None:
    answers: list[ContainersDocument | None] = [document, None, document]
    drawn: list[str] = []

    async def fetch() -> ContainersDocument:
        if not answers:
            raise LeftError
        answer = answers.pop(0)
        if answer is None:
            raise NoAnswerError("nobody there", reason="refused")
        return answer

    with pytest.raises(LeftError):
        await Session(Board(), FakeTerminal(drawn.append), fetch, source="test", interval=0.0).run()

    before, first, failed, again = drawn
    assert "waiting for the first numbers" in before
    assert "checkout" in first
    assert "nobody there" in failed
    assert "checkout" in failed
    assert "nobody there" not in again
