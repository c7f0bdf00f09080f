"""What a session does when a part of it fails: the terminal is given back, and the failure is told."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence

import pytest

from exporter.cli.terminal.board import Board
from exporter.cli.terminal.client import NoAnswerError
from exporter.cli.terminal.session import Session, beside
from exporter.cli.terminal.table import Line, plain
from exporter.report import ContainersDocument


class FakeScreen:
    """Notes what happens to it; ``on_draw`` may fail."""

    def __init__(self, on_draw: Callable[[str], None] = lambda _: None) -> None:
        self.taken = 0
        self._on_draw = on_draw

    def enter(self) -> None:
        self.taken += 1

    def leave(self) -> None:
        self.taken -= 1

    def size(self) -> os.terminal_size:
        return os.terminal_size((80, 24))

    def draw(self, lines: Sequence[Line], *, news: bool) -> None:
        self._on_draw("\n".join(plain(line) for line in lines))


class LeftError(Exception):
    """Ends a session from within a test."""


async def test_a_failure_while_drawing_gives_the_terminal_back() -> None:
    def draw(text: str) -> None:
        if "All 0" not in text and "waiting" not in text:
            raise LeftError(text)

    async def fetch() -> ContainersDocument:
        raise NoAnswerError("nobody there", reason="refused")

    screen = FakeScreen(draw)
    with pytest.raises(LeftError, match="nobody there"):
        await Session(Board(symbols=True), screen, fetch, source="test", interval=0.01).run()

    assert screen.taken == 0


async def test_a_defect_while_fetching_is_raised_and_not_hidden() -> None:
    async def fetch() -> ContainersDocument:
        raise LeftError("a defect")

    screen = FakeScreen()
    with pytest.raises(LeftError):
        await Session(Board(symbols=True), screen, fetch, source="test", interval=0.01).run()

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
        await Session(Board(symbols=True), FakeScreen(drawn.append), fetch, source="test", interval=0.0).run()

    before, first, failed, again = drawn
    assert "waiting for the first numbers" in before
    assert "checkout" in first
    assert "nobody there" in failed
    assert "checkout" in failed
    assert "nobody there" not in again


async def test_work_beside_the_loop_is_waited_for_or_left() -> None:
    def fail() -> int:
        raise LeftError

    gate = threading.Event()

    assert await beside(lambda: 7) == 7
    with pytest.raises(LeftError):
        await beside(fail)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await beside(lambda: gate.wait(5))
    gate.set()
