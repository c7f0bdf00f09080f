"""Calls that hang keep nobody: not the caller, not the next call, not the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from exporter.threads import TimedCall, Worker

SHORT = 0.05
"""Patience of a test, in seconds."""


class Read:
    """A read that hangs while it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self._go_on = threading.Event()
        self._go_on.set()

    def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        self._go_on.wait()
        return number

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self._go_on.clear()
        try:
            yield
        finally:
            self._go_on.set()


def test_a_call_that_hangs_is_never_doubled_and_its_late_result_thrown_away() -> None:
    read = Read()
    timed = TimedCall(read, SHORT)
    assert [timed(), timed()] == [1, 2]
    threads = threading.active_count()
    with read.hanging():
        for _ in range(20):
            with pytest.raises(TimeoutError):
                timed()
        assert read.calls == 3
        assert threading.active_count() == threads + 1
    answer, deadline = 0, time.monotonic() + 10.0
    while not answer and time.monotonic() < deadline:
        with suppress(TimeoutError):
            answer = timed()
    assert answer >= 4
    with pytest.raises(ZeroDivisionError):
        TimedCall(lambda: 1 // 0, 10.0)()


def test_a_machine_that_gives_no_more_threads_is_asked_again() -> None:
    timed = TimedCall(lambda: 7, 10.0)
    threading.stack_size(1 << 47)  # more than there is
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            timed()
    finally:
        threading.stack_size(0)
    assert timed() == 7


async def test_awaiting_it_is_the_same() -> None:
    read = Read()
    timed = TimedCall(read, SHORT)
    assert await timed.awaited() == 1
    with read.hanging():
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await timed.awaited()
        assert read.calls == 2


def test_a_worker_does_all_it_is_given_in_order_in_one_thread() -> None:
    worker = Worker("test")
    done: list[tuple[int, int]] = []
    calls = [worker.submit(lambda number=number: done.append((number, threading.get_ident()))) for number in range(50)]  # type: ignore[misc] # a lambda's default has no type
    assert worker.close(10.0)
    assert all(call.done() for call in calls)
    assert [number for number, _ in done] == list(range(50))
    assert len({ident for _, ident in done}) == 1
    with pytest.raises(RuntimeError):
        worker.submit(lambda: None)
    assert Worker("never used").close(0.0)


def test_a_worker_that_hangs_is_left_behind_and_work_given_up_before_it_began_is_never_done() -> None:
    worker, read = Worker("test"), Read()
    with read.hanging():
        call, waiting = worker.submit(read), worker.submit(read)
        assert waiting.cancel()
        assert not worker.close(SHORT)
    assert call.result(10.0) == 1
    assert worker.close(10.0)
    assert read.calls == 1


def test_no_hanging_thread_keeps_a_process() -> None:
    hangs = (
        "import threading\n"
        "from exporter.threads import TimedCall, Worker\n"
        "for_ever = threading.Event().wait\n"
        "Worker('w').submit(for_ever)\n"
        "try:\n    TimedCall(for_ever, 0.01)()\n"
        "except TimeoutError:\n    print('late')\n"
    )
    ended = subprocess.run([sys.executable, "-c", hangs], check=True, capture_output=True, text=True, timeout=30)
    assert ended.stdout == "late\n"
