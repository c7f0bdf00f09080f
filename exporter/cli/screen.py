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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.text import Text

from exporter.cli.board import Board
from exporter.cli.source import ANSWER_SECONDS, Answer, fetch_containers, sampling
from exporter.cli.table import escaped
from exporter.errors import ExporterError, escape_control
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings
from exporter.threads import TimedCall
from exporter.values import format_duration

FALLBACK_SIZE: Final = os.terminal_size((80, 24))
_READ_BYTES: Final = 1024
_SIGNALLED: Final = 128
"""Added to a signal's number for the exit code, as in shells."""
_KEY: Final = re.compile(rb"\x1b[\[O][0-?]*[ -/]*[@-~]|[\x1b\r\n\x7f\x08 -~]")
"""A sequence of xterm and all that imitate it (ECMA-48 CSI, SS3 in application mode), or one byte."""
_NAMES: Final = {
    b"A": "up", b"B": "down", b"H": "home", b"F": "end", b"1~": "home", b"4~": "end", b"5~": "pageup",
    b"6~": "pagedown", b"7~": "home", b"8~": "end",
}  # fmt: skip
_CONTROLS: Final = {b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace", b"\x1b": "escape"}


def watch(board: Board, settings: Settings, answer: Answer, interval: float) -> int:
    """Show the board until the user leaves, with the numbers of who gave ``answer``, else our own; exit code."""
    every = f"every {format_duration(interval)}"

    async def remote() -> int:
        # In a thread that the end of the program does not wait for.
        request = TimedCall(
            lambda: fetch_containers(answer.url, answer.credentials, with_series=True), 2 * ANSWER_SECONDS
        )
        return await Session(
            board, Terminal(), request.awaited, source=f"{answer.url}, {every}", interval=interval
        ).run()

    async def local() -> int:
        why = f" ({answer.reason})" if answer.reason else ""
        async with sampling(settings) as exporter:

            async def fetch() -> ContainersDocument:
                return (await exporter.report()).containers()

            return await Session(
                board, Terminal(), fetch, source=f"sampling here{why}, {every}", interval=interval
            ).run()

    # A log line would land in the middle of the table; errors are counted there.
    logging.disable(logging.ERROR)
    try:
        return asyncio.run(local() if answer.document is None else remote())
    finally:
        logging.disable(logging.NOTSET)


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
    return FALLBACK_SIZE


class Terminal:
    """Standard input and output: the alternate screen and single keys, or lines that scroll where TERM is dumb."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._scrolls = environ.get("TERM", "dumb") in {"", "dumb", "unknown"}
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._modes: list[Any] | None = None

    def enter(self) -> None:
        """Take the terminal over: keys come at once and without echo, Ctrl-C and Ctrl-Z stay signals."""
        if self.keyboard is not None and self._modes is None:
            self._modes = termios.tcgetattr(self.keyboard)
            tty.setcbreak(self.keyboard, termios.TCSANOW)
        if not self._scrolls:
            self._console.set_alt_screen(True)
            self._console.show_cursor(False)

    def leave(self) -> None:
        """Restore the terminal; may be called twice."""
        with suppress(OSError):  # the terminal may be gone
            if not self._scrolls:
                self._console.set_alt_screen(False)
                self._console.show_cursor(True)
        if self.keyboard is not None and self._modes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self.keyboard, termios.TCSANOW, self._modes)
            self._modes = None

    def draw(self, lines: Sequence[Text], *, news: bool) -> None:
        """Draw the lines; ``news`` when the numbers are new. A screen that scrolls shows those only, without blanks."""
        if not self._scrolls:
            self._console.size = ConsoleDimensions(*(size := terminal_size()))
            for line in lines:
                line.align("left", size.columns)  # over what was there before
            text = Text("\n", no_wrap=True, overflow="crop", end="").join(lines)
            self._console.print(Control.home(), text, sep="", end="")
        elif news:
            print("\n".join(line.plain for line in lines if line.plain), end="\n\n", flush=True)


class Session:
    """One run, from taking the terminal over to restoring it."""

    def __init__(
        self,
        board: Board,
        terminal: Terminal,
        fetch: Callable[[], Awaitable[ContainersDocument]],
        *,
        source: str,
        interval: float,
    ) -> None:
        """``fetch`` raises ``ExporterError`` when there are no numbers now; ``source`` names it on the screen."""
        self._board, self._terminal, self._fetch = board, terminal, fetch
        self._source, self._interval = source, interval

    async def run(self) -> int:
        """Return the exit code once the user leaves."""
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = loop.create_future()
        self._terminal.enter()
        polling = asyncio.create_task(self._poll(), name="poll")
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._finish, _SIGNALLED + number)
            loop.add_signal_handler(signal.SIGINT, self._finish, 0)
            loop.add_signal_handler(signal.SIGWINCH, self._guarded, self._draw)
            loop.add_signal_handler(signal.SIGTSTP, self._guarded, self._suspend)
            if self._terminal.keyboard is not None:
                loop.add_reader(self._terminal.keyboard, self._guarded, self._read)
            self._draw()
            await asyncio.wait({self._end, polling}, return_when=asyncio.FIRST_COMPLETED)
            return self._end.result() if self._end.done() else polling.result()
        finally:
            polling.cancel()
            if self._terminal.keyboard is not None:
                loop.remove_reader(self._terminal.keyboard)
            self._terminal.leave()

    def _guarded(self, work: Callable[[], None]) -> None:
        # What a callback raises would only be logged by the event loop, onto the screen.
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised again by run()
            if not self._end.done():
                self._end.set_exception(error)

    def _finish(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)

    def _suspend(self) -> None:
        """Ctrl-Z: restore the terminal for the shell, stop, and take it over again on SIGCONT."""
        self._terminal.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.enter()
        self._draw()

    def _read(self) -> None:
        data = b"" if self._terminal.keyboard is None else os.read(self._terminal.keyboard, _READ_BYTES)
        # Without data the terminal is gone.
        if not data or not all(map(self._board.press, keys_of(data))):
            self._finish(0)
        else:
            self._draw()

    async def _poll(self) -> int:
        while True:
            try:
                self._board.document, self._board.problem = escaped(await self._fetch()), ""
            except (ExporterError, TimeoutError) as error:
                self._board.problem = escape_control(str(error)) or "no answer in time"
            self._draw(news=True)
            await asyncio.sleep(self._interval)

    def _draw(self, *, news: bool = False) -> None:
        size = terminal_size()
        self._terminal.draw(self._board.lines(size.columns, size.lines, self._status()), news=news)

    def _status(self) -> str:
        document = self._board.document
        taken_at = time.time() if document is None else document["taken_at"]
        clock = f"{time.strftime('%H:%M:%S', time.gmtime(taken_at))} UTC  {self._source}"
        errors = 0 if document is None else sum(error["count"] for error in document["exporter"]["errors"])
        return f"{clock}  {errors} errors since start" if errors else clock
