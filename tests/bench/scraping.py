"""Scrapes that cost the scraper next to nothing, so that on a small machine it does not take what it measures."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.results import Scrapes

TIMEOUT_SECONDS = 30.0
TICK_SECONDS = 1.013
"""A page is rendered once a tick: so far apart, each scrape has a new one, at ever other times within a tick."""
_BUFFER = 1 << 20


class Scraper:
    """One connection that is kept, as Prometheus keeps it; answers go into one buffer and are thrown away."""

    def __init__(self, port: int, path: str = "/metrics") -> None:
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/plain\r\n\r\n".encode()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.bytes = 0
        """Of the last page."""

    def scrape(self) -> tuple[float, float]:
        """Milliseconds to the first byte and to the last. Raises ``OSError``, also for an answer that is no page."""
        start = time.perf_counter()
        self._socket.sendall(self._request)
        filled = self._receive(0)
        first = time.perf_counter()
        while (end := self._buffer.find(b"\r\n\r\n", 0, filled)) < 0:
            filled += self._receive(filled)
        self.bytes, chunked = self._framing(bytes(self._view[:end]))
        if chunked:
            # Not ours: cAdvisor's. Its last chunk is empty.
            while not self._buffer[:filled].endswith(b"\r\n0\r\n\r\n"):
                if filled > _BUFFER // 2:
                    self._view[:16] = bytes(self._view[filled - 16 : filled])
                    self.bytes, filled = self.bytes + filled - 16, 16
                filled += self._receive(filled)
            self.bytes += filled - end
        else:
            left = self.bytes - (filled - end - 4)
            while left > 0:
                left -= self._receive(0)
        return 1000 * (first - start), 1000 * (time.perf_counter() - start)

    def _receive(self, offset: int) -> int:
        got = self._socket.recv_into(self._view[offset:])
        if not got:
            raise ConnectionResetError("closed before the end of an answer")
        return got

    @staticmethod
    def _framing(head: bytes) -> tuple[int, bool]:
        """The length of the body where it is told, and whether it comes in chunks."""
        status, *lines = head.lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines if b": " in line)
        if status.split()[1] != b"200":
            raise OSError(f"answered {status.decode(errors='replace')[:60]}")
        return int(headers.get(b"content-length", 0)), headers.get(b"transfer-encoding") == b"chunked"

    def close(self) -> None:
        self._socket.close()


@contextmanager
def scraper(port: int) -> Iterator[Scraper]:
    one = Scraper(port)
    try:
        yield one
    finally:
        one.close()


def free_port() -> int:
    """A port on which nobody listens yet."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def one_each_tick(port: int, count: int) -> Scrapes:
    """``count`` scrapes, one after the other."""
    first: list[float] = []
    last: list[float] = []
    with scraper(port) as one:
        due = time.monotonic()
        for _ in range(count):
            due += TICK_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))
            to_first, to_last = one.scrape()
            first.append(to_first)
            last.append(to_last)
        return Scrapes(first_ms=first, last_ms=last, bytes=one.bytes)


def crowd(port: int, scrapers: int, seconds: float, gap: float = 1.0) -> tuple[Scrapes, int]:
    """Many at once, each with a pause after every page; their scrapes, and how many failed."""
    first: list[float] = []
    last: list[float] = []
    failures: list[str] = []
    sizes: list[int] = [0]
    end = time.monotonic() + seconds

    def scrape_until_end() -> None:
        try:
            with scraper(port) as one:
                while time.monotonic() < end:
                    to_first, to_last = one.scrape()
                    first.append(to_first)
                    last.append(to_last)
                    sizes.append(one.bytes)
                    time.sleep(gap)
        except OSError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=scrape_until_end, name=f"scraper-{number}") for number in range(scrapers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 2 * TIMEOUT_SECONDS)
    return Scrapes(first_ms=first, last_ms=last, bytes=sizes[-1]), len(failures)
