"""Daemon threads for calls that may block forever (a dead disk or file server, lxcfs); nothing waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class TimedCall(Generic[T]):
    """A call limited to ``seconds``, each time in a thread of its own, one at a time.

    While a late call goes on, calling again raises ``TimeoutError`` at once; the late result is thrown away.
    """

    def __init__(self, work: Callable[[], T], seconds: float) -> None:
        self._work, self.seconds = work, seconds
        self._last: Future[T] | None = None

    def __call__(self) -> T:
        """Return or raise what ``work`` does, or raise ``TimeoutError``; blocks meanwhile."""
        return self._begin().result(self.seconds)

    async def awaited(self) -> T:
        """Do the same without blocking the event loop."""
        call = asyncio.wrap_future(self._begin())
        async with asyncio.timeout(self.seconds):
            return await call

    def _begin(self) -> Future[T]:
        if self._last is not None and not self._last.done():
            raise TimeoutError
        call = Future[T]()
        call.set_running_or_notify_cancel()  # cancelling the wait does not cancel it
        # Before _last is set: it raises where no thread can be made.
        Thread(target=_settle, args=(call, self._work), name="timed-call", daemon=True).start()
        self._last = call
        return call


class Worker:
    """One thread that runs functions in the order of their submission."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue ``work``; its future can be cancelled until it begins."""
        if self._closed:
            raise RuntimeError("the worker is closed")
        call = Future[T]()
        self._queue.put(lambda: _settle(call, work) if call.set_running_or_notify_cancel() else None)
        if self._thread.ident is None:
            self._thread.start()
        return call

    def close(self, seconds: float) -> bool:
        """Take no more work, and return whether the queued work ended within ``seconds``."""
        self._closed = True
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (run := self._queue.get()) is not None:
            run()


def _settle(call: Future[T], work: Callable[[], T]) -> None:
    try:
        call.set_result(work())
    except BaseException as error:  # noqa: BLE001 - handed to the future
        call.set_exception(error)
