"""The whole ``throttle-exporter serve``, seen from outside.

What is measured is another process in real time, so the waits here are real as well: a slice of it, the gap between two
scrapes, the life of a container. Only waiting for an answer polls.
"""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

from exporter.lab.hierarchy import LabError
from exporter.lab.spec import Pod
from tests.bench.node import BenchNode, new_pod
from tests.bench.peers import Speed, awake
from tests.bench.results import Arrivals, Crowd, Running
from tests.bench.scraping import crowd, free_port, scraper
from tests.support.pages import Page
from tests.support.process import ROOT, Exporter, command, environment

SCRAPE_SECONDS = 15.0
LIFE_SECONDS = 3.0
_COMPLETE_SECONDS = 120.0
_ARRIVALS = 4
_ARRIVAL_SECONDS = 10.0


@contextmanager
def serving(node: BenchNode) -> Iterator[tuple[Exporter, float]]:
    """The process, and the seconds from ``exec`` to the first page that names every container."""
    port = free_port()
    options = [f"--path.cgroup={node.root}", "--pods.sources=kubelet", f"--kubelet.url={node.kubelet_url}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    # As in its image: certificate authorities that the machine names would be read, 2 MB of them.
    as_shipped = {name: value for name, value in environment().items() if not name.startswith("SSL_CERT_")}
    begun = time.monotonic()
    process = subprocess.Popen(command("serve", *options), cwd=ROOT, env=as_shipped, stdin=subprocess.DEVNULL)
    exporter = Exporter(process, host="127.0.0.1", port=port)
    try:
        while not _is_complete(exporter, node.containers):
            seconds = time.monotonic() - begun
            if process.poll() is not None or seconds > _COMPLETE_SECONDS:
                raise LabError(f"serve: no complete page after {seconds:.0f} s", reason="timeout")
            time.sleep(0.01)
        yield exporter, time.monotonic() - begun
    finally:
        exporter.stop()


def _is_complete(exporter: Exporter, containers: int) -> bool:
    # A probe first: pages of a thousand pods, asked for while it starts, would be what the start waits for.
    with suppress(OSError):
        if exporter.get("/readyz").status == HTTPStatus.OK:
            return exporter.get("/metrics").body.count(b"\ncgroup_container_info{") >= containers
    return False


@contextmanager
def serving_after(node: BenchNode, starts: int = 3) -> Iterator[tuple[Exporter, list[float]]]:
    """The process of the last of several starts, and the seconds of all."""
    seconds = []
    for _ in range(starts - 1):
        with serving(node) as (_, one):
            seconds.append(one)
    with serving(node) as (exporter, one):
        yield exporter, [*seconds, one]


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of another process, in nanoseconds' grain where ``/proc/PID/stat`` has 10 ms."""
    clock = ~pid << 3 | 2  # the kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED): clock_getcpuclockid(3)
    return time.clock_gettime(clock)


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident now and at most."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024


def watch(pid: int, port: int, seconds: float, speed: Speed) -> Running:
    """Percent of a core in slices of 15 s, each with a scrape in its middle, as one Prometheus asks."""
    speed.ask()
    percent: list[float] = []
    end = time.monotonic() + seconds
    with scraper(port) as one:
        while not percent or time.monotonic() < end - 1:
            slice_seconds = min(SCRAPE_SECONDS, seconds)
            before, begun = cpu_seconds(pid), time.monotonic()
            time.sleep(slice_seconds / 2)
            one.scrape()
            time.sleep(max(0.0, begun + slice_seconds - time.monotonic()))
            percent.append(100 * (cpu_seconds(pid) - before) / (time.monotonic() - begun))
    rss, peak = memory_mb(pid)
    return Running(core_percent=percent, rss_mb=rss, peak_mb=peak, speed=speed.around())


def crowded(exporter: Exporter, scrapers: int, seconds: float) -> Crowd:
    """What many scrapers get, and what the samples suffer from them."""
    pid = exporter.process.pid
    before, cpu, begun = _ticks(exporter), cpu_seconds(pid), time.monotonic()
    scrapes, failed = crowd(exporter.port, scrapers, seconds)
    spent, took = cpu_seconds(pid) - cpu, time.monotonic() - begun
    grown = {name: value - before[name] for name, value in _ticks(exporter).items()}
    ticks = grown.pop("ticks")
    return Crowd(
        scrapers=scrapers,
        seconds=took,
        scrapes=scrapes,
        failed=failed,
        ticks=ticks,
        late=grown.pop("late"),
        slow={bound: ticks - faster for bound, faster in grown.items()},
        core_percent=100 * spent / took,
    )


def _ticks(exporter: Exporter) -> dict[str, float]:
    """Ticks so far, late ones, and by each bound those that were faster."""
    # The cgroups' own samples would take prometheus_client's parser seconds.
    own = (line for line in exporter.get("/metrics").text.splitlines() if "throttle_exporter_sample" in line)
    page = Page("\n".join(own) + "\n", "text/plain")
    name = "throttle_exporter_sample_duration_seconds"
    counts = {dict(row)["le"]: value for row, value in page.rows(f"{name}_bucket").items()}
    bounds = sorted((bound for bound in counts if bound != "+Inf"), key=float)
    return {
        "ticks": page.total(f"{name}_count"),
        "late": page.total("throttle_exporter_sample_overruns_total"),
        **{bound: counts[bound] for bound in bounds},
    }


def arrivals(node: BenchNode, exporter: Exporter, wakers: Path) -> Arrivals:
    """When new pods are served, and whether a scrape finds those that lived and died between two scrapes."""
    url = f"http://127.0.0.1:{exporter.port}/metrics"
    served_after: list[float] = []
    for number in range(_ARRIVALS):
        pod = new_pod(number, "arrival")
        time.sleep(0.23 * number)  # at different times within a tick
        with _living(node, [pod], wakers) as begun:
            while not (_row(_get(url), pod.name) or time.monotonic() - begun > _ARRIVAL_SECONDS):
                time.sleep(0.05)
            served_after.append(time.monotonic() - begun)
    short = [new_pod(number, "short") for number in range(_ARRIVALS)]
    with _living(node, short, wakers) as begun:
        time.sleep(LIFE_SECONDS)
    time.sleep(max(0.0, begun + SCRAPE_SECONDS - time.monotonic()))
    page = _get(url)
    used = [row for pod in short if (row := _row(page, pod.name)) and float(row.rsplit(b" ", 1)[1]) > 0]
    return Arrivals(served_after=served_after, lived=len(short), found=len(used))


@contextmanager
def _living(node: BenchNode, pods: Sequence[Pod], wakers: Path) -> Iterator[float]:
    """Pods that do a little work; when their cgroups began to be made."""
    for pod in pods:
        node.listed.add(pod)
    begun = time.monotonic()
    with awake(wakers, [node.add(pod) for pod in pods], every_seconds=0.1, work_seconds=0.001):
        yield begun
    for pod in pods:
        node.tree.remove_pod(pod)


def _row(page: bytes, pod: str) -> bytes:
    """The usage of the pod's container in which something runs."""
    name = b"\ncgroup_container_cpu_usage_seconds_total{"
    start = page.find(name)
    while start >= 0:
        end = page.index(b"\n", start + 1)
        line = page[start + 1 : end]
        if f'pod="{pod}"'.encode() in line and b'container="app-0"' in line:
            return line
        start = page.find(name, end)
    return b""


def _get(url: str) -> bytes:
    with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body
    return b""
