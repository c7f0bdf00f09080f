"""The whole ``throttle-exporter serve``, seen from outside, in real time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection

from exporter.lab.cgroups import LabError
from tests.bench.node import BenchNode, new_pod
from tests.bench.rows import Row
from tests.support.lab import resident
from tests.support.process import ROOT, Exporter, command, environment, free_port

SCRAPE_SECONDS = 15.0
LIFE_SECONDS = 3.0
TICK_SECONDS = 1.013
"""A page is rendered once a tick: so far apart, each scrape has a new one, at ever other times within a tick."""
START_CPU_SECONDS = {750: 0.6}
"""By the number of containers that the target is for."""
_COMPLETE_SECONDS = 120.0
_ARRIVALS = 4
_ARRIVAL_SECONDS = 10.0


class Scraper:
    """One connection that is kept, as Prometheus keeps it; answers go into one buffer and are thrown away."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30.0)
        self._buffer = bytearray(1 << 20)

    def scrape(self) -> float:
        """Milliseconds to the last byte. Raises ``OSError``, also for an answer that is no page."""
        start = time.perf_counter()
        self._connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        response = self._connection.getresponse()
        while response.readinto(self._buffer):
            pass
        if response.status != HTTPStatus.OK or response.length:
            raise OSError(f"answered {response.status} {response.reason}, {response.length or 0} bytes short")
        return 1000 * (time.perf_counter() - start)

    def close(self) -> None:
        self._connection.close()


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of another process, in nanoseconds' grain where ``/proc/PID/stat`` has 10 ms."""
    clock = ~pid << 3 | 2  # the kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED): clock_getcpuclockid(3)
    return time.clock_gettime(clock)


@dataclass(frozen=True)
class Watched:
    """What a process costs whoever scrapes it, ours or a peer's."""

    scrape_ms: list[float]
    core_percent: list[float]
    """In slices of 15 s, each with a scrape in its middle, as one Prometheus asks."""
    memory_mb: list[float]


def watch(pid: int, port: int, seconds: float, scrapes: int) -> Watched:
    """Watch a process for so long, then scrape it so many times, once a tick."""
    percent, times = list[float](), list[float]()
    scraper = Scraper(port)
    end = time.monotonic() + seconds
    while not percent or time.monotonic() < end - 1:
        slice_seconds = min(SCRAPE_SECONDS, seconds)
        before, begun = cpu_seconds(pid), time.monotonic()
        time.sleep(slice_seconds / 2)
        scraper.scrape()
        time.sleep(max(0.0, begun + slice_seconds - time.monotonic()))
        percent.append(100 * (cpu_seconds(pid) - before) / (time.monotonic() - begun))
    memory, due = [resident(pid) / (1 << 20)], time.monotonic()
    for _ in range(scrapes):
        due += TICK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        times.append(scraper.scrape())
    scraper.close()
    return Watched(times, percent, memory)


@contextmanager
def serving(node: BenchNode) -> Iterator[tuple[Exporter, list[Row]]]:
    """The process, and what it took from ``exec`` to the first page that names every container."""
    port = free_port()
    options = [f"--path.cgroup={node.root}", "--pods.sources=kubelet", f"--kubelet.url={node.kubelet.url}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    # As in its image: certificate authorities that the machine names would be read, 2 MB of them.
    as_shipped = {name: value for name, value in environment().items() if not name.startswith("SSL_CERT_")}
    begun = time.monotonic()
    process = subprocess.Popen(command("serve", *options), cwd=ROOT, env=as_shipped, stdin=subprocess.DEVNULL)
    exporter = Exporter(process, host="127.0.0.1", port=port)
    try:
        while not _is_complete(exporter, len(node.members)):
            seconds = time.monotonic() - begun
            if process.poll() is not None or seconds > _COMPLETE_SECONDS:
                raise LabError(f"serve: no complete page after {seconds:.0f} s", reason="timeout")
            time.sleep(0.01)
        cpu, seconds = cpu_seconds(process.pid), time.monotonic() - begun
        what, limit = "start to first complete page", START_CPU_SECONDS.get(len(node.members))
        yield (
            exporter,
            [Row(what=what, unit="CPU s", values=[cpu], limit=limit), Row(what=what, unit="s", values=[seconds])],
        )
    finally:
        exporter.stop()


def _is_complete(exporter: Exporter, containers: int) -> bool:
    # A probe first: pages of a thousand pods, asked for while it starts, would be what the start waits for.
    with suppress(OSError):
        if exporter.get("/readyz").status == HTTPStatus.OK:
            return exporter.get("/metrics").body.count(b"\ncgroup_container_info{") >= containers
    return False


def arrivals(node: BenchNode, exporter: Exporter) -> list[Row]:
    """When new pods are served, and whether a scrape finds those that lived and died between two scrapes."""
    served_after: list[float] = []
    for number in range(_ARRIVALS):
        pod = new_pod(number, "arrival")
        time.sleep(0.23 * number)  # at different times within a tick
        begun = time.monotonic()
        with node.living([pod]):
            while not _used(exporter, pod.name) and time.monotonic() - begun < _ARRIVAL_SECONDS:
                time.sleep(0.05)
            served_after.append(time.monotonic() - begun)
    short = [new_pod(number, "short") for number in range(_ARRIVALS)]
    begun = time.monotonic()
    with node.living(short):
        time.sleep(LIFE_SECONDS)
    time.sleep(max(0.0, begun + SCRAPE_SECONDS - time.monotonic()))
    found = sum(_used(exporter, pod.name) > 0 for pod in short) / len(short)
    what = "lived 3 s, on the page of a 15 s scrape with its counters"
    return [
        Row(what="new container served after", unit="s", values=served_after, limit=3.0, judged="largest"),
        Row(what=what, unit="share", values=[found], limit=1.0, judged="share"),
    ]


def _used(exporter: Exporter, pod: str) -> float:
    """The CPU time that the page has of the pod's container in which something runs; 0 without such a row."""
    rows = exporter.get("/metrics").text.splitlines()
    start = 'cgroup_container_cpu_usage_seconds_total{container="app-0",'
    found = [row for row in rows if row.startswith(start) and f'pod="{pod}"' in row]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0
