"""``top`` while it runs: keys, signals and new numbers, each of which redraws the board."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from exporter.cli.terminal.board import Board
from exporter.cli.terminal.keys import Keys
from exporter.cli.terminal.screen import Keyboard, Screen
from exporter.errors import ExporterError
from exporter.report.schema import ContainersDocument

T = TypeVar("T")
ESCAPE_SECONDS: Final = 0.05
"""How long the rest of a key's sequence may take; a network between may split it."""
_READ_BYTES: Final = 1024
_SIGNALLED: Final = 128
"""Added to a signal's number for the exit code, as shells have it."""


class Session:
    """One run, from taking the terminal over to giving it back."""

    def __init__(
        self,
        board: Board,
        screen: Screen,
        fetch: Callable[[], Awaitable[ContainersDocument]],
        *,
        source: str,
        interval: float,
    ) -> None:
        """``fetch`` raises ``ExporterError`` when there are no numbers now; ``source`` says in words whose they are."""
        self._board, self._screen, self._fetch = board, screen, fetch
        self._source, self._interval = source, interval
        self._keyboard, self._keys = Keyboard(), Keys()
        self._flush: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Until the user leaves; the exit code."""
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self._enter()
        polling = asyncio.create_task(self._poll(), name="poll")
        try:
            self._listen()
            self._draw()
            await asyncio.wait({self._end, polling}, return_when=asyncio.FIRST_COMPLETED)
            return self._end.result() if self._end.done() else polling.result()
        finally:
            polling.cancel()
            if self._keyboard.descriptor is not None:
                self._loop.remove_reader(self._keyboard.descriptor)
            self._leave()

    def _enter(self) -> None:
        self._keyboard.enter()
        self._screen.enter()

    def _leave(self) -> None:
        self._screen.leave()
        self._keyboard.leave()

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._finish, _SIGNALLED + number)
        self._loop.add_signal_handler(signal.SIGINT, self._finish, 0)
        self._loop.add_signal_handler(signal.SIGWINCH, self._guarded, self._draw)
        self._loop.add_signal_handler(signal.SIGTSTP, self._guarded, self._suspend)
        if self._keyboard.descriptor is not None:
            self._loop.add_reader(self._keyboard.descriptor, self._guarded, self._read)

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
        """Ctrl-Z: the shell gets its terminal as it was, and we take it over again when we go on."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()
        self._draw()

    def _read(self) -> None:
        if self._keyboard.descriptor is None:
            return
        data = os.read(self._keyboard.descriptor, _READ_BYTES)
        if not data:  # the terminal is gone
            self._finish(0)
            return
        self._press(self._keys.feed(data))
        if self._flush is not None:
            self._flush.cancel()
        if self._keys.waiting:
            self._flush = self._loop.call_later(ESCAPE_SECONDS, self._guarded, self._flush_keys)

    def _flush_keys(self) -> None:
        self._press(self._keys.flush())

    def _press(self, keys: list[str]) -> None:
        for key in keys:
            if not self._board.press(key):
                self._finish(0)
                return
        if keys:
            self._draw()

    async def _poll(self) -> int:
        while True:
            try:
                self._board.document, self._board.problem = await self._fetch(), ""
            except ExporterError as error:
                self._board.problem = str(error)
            self._draw(news=True)
            await asyncio.sleep(self._interval)

    def _draw(self, *, news: bool = False) -> None:
        size = self._screen.size()
        self._screen.draw(self._board.lines(size.columns, size.lines, self._status()), news=news)

    def _status(self) -> str:
        document = self._board.document
        clock = time.strftime("%H:%M:%S")
        if document is None:
            return f"{clock}  {self._source}"
        late = "" if document["exporter"]["healthy"] else ", its samples are late"
        errors = sum(error["count"] for error in document["exporter"]["errors"])
        survived = f"  {errors} failures survived" if errors else ""
        return f"{time.strftime('%H:%M:%S', time.localtime(document['taken_at']))}  {self._source}{late}{survived}"


async def beside(work: Callable[[], T]) -> T:
    """``work`` in a thread that nobody waits for at the end: a request that hangs must not keep the program."""
    done = Future[T]()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            done.set_exception(error)

    threading.Thread(target=run, name="fetch", daemon=True).start()
    return await asyncio.wrap_future(done)
