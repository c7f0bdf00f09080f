"""``top`` on a terminal: keys, the screen, and the session that redraws on keys, signals and new numbers."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import termios
import time
import tty
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.text import Text

from exporter.cli.board import Board
from exporter.cli.source import ANSWER_SECONDS, Answer, sampling
from exporter.errors import ExporterError, escape_control
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.threads import TimedCall
from exporter.values import format_duration

_KEY: Final = re.compile(rb"\x1b[\[O][0-?]*[ -/]*[@-~]|[\x1b\r\n\x7f\x08 -~]")
"""A sequence of xterm and all that imitate it (ECMA-48 CSI, SS3 in application mode), or one byte."""
_NAMES: Final = {
    b"A": "up", b"B": "down", b"H": "home", b"F": "end", b"1~": "home", b"4~": "end", b"5~": "pageup",
    b"6~": "pagedown", b"7~": "home", b"8~": "end",
}  # fmt: skip
_CONTROLS: Final = {b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace", b"\x1b": "escape"}
Fetch = Callable[[], Awaitable[ContainersDocument]]  # raises `ExporterError` when there are no numbers now


def watch(board: Board, settings: Settings, answer: Answer, interval: float) -> int:
    """Show the board with numbers from the exporter behind ``answer``, else sampled here; return the exit code."""
    every = f"every {format_duration(interval)}"

    async def show() -> int:
        if answer.document is not None and answer.client is not None:
            # In a thread that the end of the program does not wait for.
            call = TimedCall(partial(answer.client.containers, with_series=True), 2 * ANSWER_SECONDS)
            return await Session(board, Terminal(), call.awaited, f"{answer.client.url}, {every}", interval).run()
        source = f"sampling here{answer.reason and f' ({answer.reason})'}, {every}"
        async with sampling(settings) as exporter:

            async def fetch() -> ContainersDocument:
                return (await exporter.report()).containers()

            return await Session(board, Terminal(), fetch, source, interval).run()

    # A log line would land in the middle of the table; errors are counted there.
    logging.disable(logging.ERROR)
    return asyncio.run(show())


def keys_of(data: bytes) -> list[str]:
    """Return the keys a terminal sent; characters beyond ASCII and unknown sequences are left out."""
    found = _KEY.findall(data)
    names = [_CONTROLS.get(key) or (key.decode() if len(key) == 1 else _NAMES.get(key[2:])) for key in found]
    return [name for name in names if name is not None]


def terminal_size() -> os.terminal_size:
    """Return columns and lines of the terminal as of now: COLUMNS and LINES of the environment never change."""
    with suppress(OSError, ValueError):
        found = os.get_terminal_size(sys.stdout.fileno())
        if found.columns > 0 and found.lines > 0:  # a serial line says 0
            return found
    return os.terminal_size((80, 24))


class Terminal:
    """Standard input and output: the alternate screen, and single keys where there is a keyboard."""

    def __init__(self) -> None:
        self.keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._restore = ExitStack()

    def enter(self) -> None:
        """Take the terminal over: keys come at once and without echo, Ctrl-C and Ctrl-Z stay signals."""
        if self.keyboard is not None:
            modes = termios.tcgetattr(self.keyboard)
            self._restore.callback(termios.tcsetattr, self.keyboard, termios.TCSANOW, modes)
            tty.setcbreak(self.keyboard, termios.TCSANOW)
        self._restore.enter_context(self._console.screen())

    def leave(self) -> None:
        """Restore the terminal; may be called twice."""
        with suppress(OSError, termios.error):  # the terminal may be gone
            self._restore.close()

    def draw(self, lines: Sequence[Text], size: os.terminal_size) -> None:
        """Draw as many lines as the terminal has."""
        self._console.size = ConsoleDimensions(*size)
        for line in lines:
            line.align("left", size.columns)  # over what was there before
        text = Text("\n", no_wrap=True, overflow="crop", end="").join(lines)
        self._console.print(Control.home(), text, sep="", end="")


class Session:
    """One run, from taking the terminal over to restoring it."""

    def __init__(self, board: Board, terminal: Terminal, fetch: Fetch, source: str, interval: float) -> None:
        self._board, self._terminal, self._fetch = board, terminal, fetch
        self._source, self._interval = source, interval
        self._events = asyncio.Queue[Callable[[], int | None]]()  # an exit code ends the session

    async def run(self) -> int:
        """Return the exit code once the user leaves."""
        loop, keyboard = asyncio.get_running_loop(), self._terminal.keyboard
        for number, event in {
            signal.SIGINT: lambda: 0,
            signal.SIGTERM: lambda: 128 + signal.SIGTERM,  # as in shells
            signal.SIGHUP: lambda: 128 + signal.SIGHUP,
            signal.SIGWINCH: self._draw,
            signal.SIGTSTP: self._suspend,
        }.items():
            loop.add_signal_handler(number, self._events.put_nowait, event)
        self._terminal.enter()
        polling = asyncio.create_task(self._poll(), name="poll")
        polling.add_done_callback(lambda task: self._events.put_nowait(task.result))
        if keyboard is not None:
            loop.add_reader(keyboard, lambda: self._events.put_nowait(partial(self._press, _read(keyboard))))
        try:
            self._draw()
            while (code := (await self._events.get())()) is None:
                pass
            return code
        finally:
            polling.cancel()
            if keyboard is not None:
                loop.remove_reader(keyboard)
            self._terminal.leave()

    def _suspend(self) -> None:
        """Ctrl-Z: restore the terminal for the shell, stop, and take it over again on SIGCONT."""
        self._terminal.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.enter()
        self._draw()

    def _press(self, data: bytes) -> int | None:
        if not data or not all(map(self._board.press, keys_of(data))):
            return 0
        self._draw()
        return None

    async def _poll(self) -> None:
        while True:
            try:
                self._board.document, self._board.problem = await self._fetch(), ""
            except (ExporterError, TimeoutError) as error:
                self._board.problem = escape_control(str(error)) or "no answer in time"
            self._draw()
            await asyncio.sleep(self._interval)

    def _draw(self) -> None:
        document, size, errors = self._board.document, terminal_size(), 0
        taken_at = time.time() if document is None else document["taken_at"]
        if document is not None:
            errors = sum(error["count"] for error in document["exporter"]["errors"])
        status = f"{time.strftime('%H:%M:%S', time.gmtime(taken_at))} UTC  {self._source}"
        status += f"  {errors} errors since start" if errors else ""
        self._terminal.draw(self._board.lines(size.columns, size.lines, status), size)


def _read(keyboard: int) -> bytes:
    with suppress(OSError):  # the terminal may be gone
        return os.read(keyboard, 1024)
    return b""
