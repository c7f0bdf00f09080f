"""Threads that may hang in the kernel and keep nobody waiting.

A read can block for ever: a disk or a file server that is gone, lxcfs behind ``/proc`` and ``/sys``. Nothing calls such
a thread back. Here they are daemons: neither a page nor the end of the process waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class TimedCall(Generic[T]):
    """A call that may take ``seconds``, each time in a thread of its own, one at a time.

    While a late call goes on no other is begun: calling again raises ``TimeoutError`` at once. What it gives in the end
    is old by then, and thrown away.
    """

    def __init__(self, work: Callable[[], T], seconds: float) -> None:
        self._work = work
        self.seconds = seconds
        self._last: Future[T] | None = None

    def __call__(self) -> T:
        """What ``work`` gives or raises; ``TimeoutError`` when it takes too long. Blocks meanwhile."""
        return self._begin().result(self.seconds)

    async def awaited(self) -> T:
        """The same without blocking."""
        call = asyncio.wrap_future(self._begin())
        async with asyncio.timeout(self.seconds):
            return await call

    def _begin(self) -> Future[T]:
        if self._last is not None and not self._last.done():
            raise TimeoutError
        call = Future[T]()
        call.set_running_or_notify_cancel()  # who gives up waiting does not end it
        # Raises where no more threads may be made; then no call is under way.
        Thread(target=_settle, args=(call, self._work), name="timed-call", daemon=True).start()
        self._last = call
        return call


class Worker:
    """One thread that does one thing after the other, as they are given."""

    def __init__(self, name: str) -> None:
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have ``work`` done; its future can be cancelled until it begins."""
        if self._closed:
            raise RuntimeError("the worker is closed")
        call = Future[T]()

        def do() -> None:
            if call.set_running_or_notify_cancel():
                _settle(call, work)

        self._orders.put(do)
        if self._thread.ident is None:
            self._thread.start()
        return call

    def close(self, seconds: float) -> bool:
        """Take no more work. False when what was given does not end within ``seconds``: the thread is left behind."""
        self._closed = True
        self._orders.put(None)
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (do := self._orders.get()) is not None:
            do()


def _settle(call: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the call
        call.set_exception(error)
    else:
        call.set_result(result)
