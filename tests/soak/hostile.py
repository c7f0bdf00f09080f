"""Hostile clients against the real process, from a process of their own: ``python -m tests.soak.hostile``.

Prints what a scraper beside them waited for its pages, and what the exporter's memory did.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Final

from tests.support.lab import resident
from tests.support.process import Exporter, started
from tests.support.treebuilder import container_id, pod_uid, v2
from tests.support.trees import cgroupfs_pod

PODS, CONTAINERS = 100, 3
PROMISED: Final = 0.1
"""Seconds of a scrape on an idle machine, whoever else is there."""
GET: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
Address = tuple[str, int]


def many(
    address: Address,
    number: int,
    first: bytes,
    *,
    every: float,
    buffer: int = 0,
    over: Callable[[float], object] = time.sleep,
) -> None:
    """So many connections, each with a byte more now and then; what is closed is opened again, until it is ``over``."""
    opened: dict[int, socket.socket] = {}
    while True:
        for place in range(number):
            try:
                if place not in opened:
                    opened[place] = sock = socket.socket()
                    if buffer:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                    sock.settimeout(5.0)
                    sock.connect(address)
                    sock.sendall(first)
                elif not buffer:
                    opened[place].sendall(b"x")
            except OSError:
                opened.pop(place).close()
        if over(every):
            break
    for sock in opened.values():
        sock.close()


def again_and_again(address: Address, texts: list[bytes], *, pause: float = 0.0) -> None:
    """One after the other, each on a connection of its own, whatever is answered."""
    for text in itertools.cycle(texts):
        with contextlib.suppress(OSError), socket.create_connection(address, 5.0) as sock:
            sock.sendall(text)
            while sock.recv(1 << 16):
                pass
        time.sleep(pause)


SMUGGLED: Final = [
    GET + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    GET + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n12\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
    GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    GET + b"Content-Length: 5\r\n\r\nabcde" + GET + b"\r\n",
]
METHODS: Final = ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
LAST: Final = GET + b"Connection: close\r\n\r\n"

SHAPES: Final[dict[str, Callable[[Address], None]]] = {
    "nobody": lambda _: None,
    "200 slow clients": lambda to: many(to, 200, GET + b"X-Slow: ", every=0.2),
    "2,000 idle connections": lambda to: many(to, 2000, b"", every=1.0),
    "headers of 1 MB": lambda to: again_and_again(to, [GET + b"X: " + b"x" * (1 << 20) + b"\r\n\r\n"]),
    "wrong methods": lambda to: again_and_again(
        to, [f"{name} /metrics HTTP/1.1\r\nHost: x\r\n\r\n".encode() for name in METHODS]
    ),
    "50 requests at once": lambda to: again_and_again(to, [(GET + b"\r\n") * 49 + LAST]),
    "smuggling": lambda to: again_and_again(to, SMUGGLED),
    "clients that never read": lambda to: many(to, 100, (GET + b"\r\n") * 50, every=0.2, buffer=4096),
}


@dataclass(frozen=True)
class Beside:
    """What a scraper saw, and the exporter's memory, beside one kind of clients."""

    shape: str
    statuses: frozenset[int]
    seconds: tuple[float, ...]
    before: int
    most: int
    """Resident bytes."""


def node(folder: Path) -> list[str]:
    """Options for a node of files."""
    root = folder / "cgroup"
    build = v2(root)
    for number in range(PODS):
        uid = pod_uid(f"p{number}")
        pod = build.pod(cgroupfs_pod(uid, "Burstable"), uid, "Burstable")
        for name in range(CONTAINERS):
            cid = container_id(f"{number} {name}")
            build.container(f"{pod}/{cid}", cid, "")
    return [f"--path.cgroup={root}", "--pods.sources=none"]


def attack(shape: str, address: Address, begun: Event) -> None:
    """Be these clients, in a process that is killed in the end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    begun.set()
    SHAPES[shape](address)


def beside(shape: str, exporter: Exporter, scrapes: int) -> Beside:
    """So many scrapes, a new page each, on new connections."""
    pid = exporter.process.pid
    before = most = resident(pid)
    statuses, seconds = set[int](), list[float]()
    spawning = multiprocessing.get_context("spawn")
    begun = spawning.Event()
    clients = spawning.Process(target=attack, args=(shape, (exporter.host, exporter.port), begun), daemon=True)
    clients.start()
    begun.wait(30.0)
    try:
        for _ in range(scrapes):
            began = time.perf_counter()
            answer = exporter.get("/metrics")
            seconds.append(time.perf_counter() - began)
            statuses.add(answer.status if b"cgroup_container_" in answer.body else 0)
            most = max(most, resident(pid))
            time.sleep(0.1)
    finally:
        clients.kill()
        clients.join()
    return Beside(shape, frozenset(statuses), tuple(seconds), before, most)


def measure(folder: Path, scrapes: int) -> Iterator[Beside]:
    """All shapes, one after the other, against one process."""
    with started(node(folder)) as exporter:
        exporter.page_after_ticks()
        for shape in SHAPES:
            yield beside(shape, exporter, scrapes)


def table(rows: list[Beside]) -> Iterator[str]:
    """Markdown."""
    yield "| beside | scrapes | median, ms | worst, ms | over 100 ms | resident before, MB | at most, MB |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        usual, worst = 1000 * median(row.seconds), 1000 * max(row.seconds)
        answers = f"{len(row.seconds)} x {', '.join(map(str, sorted(row.statuses)))}"
        late = sum(seconds > PROMISED for seconds in row.seconds)
        memory = f"{row.before / 1e6:.1f} | {row.most / 1e6:.1f}"
        yield f"| {row.shape} | {answers} | {usual:.1f} | {worst:.1f} | {late} | {memory} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scrapes", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write("\n".join(table(list(measure(Path(folder), options.scrapes)))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
