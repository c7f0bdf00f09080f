"""One function for each row of the table; each gives its single measurements, so that spread is shown, not hidden."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from exporter.cgroupfs.opener import Opener
from exporter.cgroupfs.tree import detect
from exporter.kube.podlist import parse_pod_list
from exporter.metrics.exposition import Renderer
from exporter.sampler import Sampler, SamplerOptions
from exporter.settings import load
from tests.bench.node import BenchNode

TICKS = 60
PAGES = 100
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class InProcess:
    """CPU milliseconds of the parts, measured in this process on the real tree."""

    tick: list[float]
    c_tick: list[float]
    scan: list[float]
    page: list[float]
    samples: int


def in_process(node: BenchNode) -> InProcess:
    """Ticks paired with a C loop over the same files; scans; pages (read and rendered)."""
    settings = load({}, {})
    clock = [0.0]
    sampler = Sampler(
        Opener(detect(str(node.root))),
        SamplerOptions(
            proc="/proc",
            sys="/sys",
            checkpoint="",
            interval=settings.sample_interval,
            window=settings.sample_window,
            linger=0.0,
            collectors=settings.collectors,
            expects_names=True,
        ),
        monotonic=lambda: clock[0],
        wall=time.time,
        attempts=lambda: 1,
        on_error=lambda error: sys.exit(str(error)),
    )
    with urllib.request.urlopen(f"{node.kubelet_url}/pods") as answer:
        sampler.set_pods(parse_pod_list(answer.read(), "kubelet"))
    scan = [_cpu_ms(sampler.scan) for _ in range(8)]

    def one_tick() -> None:
        clock[0] += 1.0
        sampler.tick()

    for _ in range(TICKS):
        one_tick()  # the windows fill
    tick: list[float] = []
    c_tick: list[float] = []
    for _ in range(4):
        tick += [_cpu_ms(one_tick, pause=0.02) for _ in range(TICKS // 4)]
        c_tick += c_reader(node.files_of_a_tick(), TICKS // 4)
    renderer = Renderer(settings.collectors)
    texts: list[bytes] = []

    def one_page() -> None:
        texts[:] = [renderer.render(sampler.snapshot(), "text")]

    one_page()
    page = [_cpu_ms(one_page) for _ in range(PAGES)]
    sampler.close()
    samples = sum(1 for line in texts[0].splitlines() if not line.startswith(b"#"))
    return InProcess(tick, c_tick, scan[1:], page, samples)


def c_reader(files: list[str], rounds: int) -> list[float]:
    """CPU milliseconds a round of a C program that only reads the files."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/reader"
        subprocess.run(["gcc", "-O2", "-o", program, str(Path(__file__).with_name("reader.c"))], check=True)
        ran = subprocess.run([program, str(rounds)], input="\n".join(files), capture_output=True, text=True, check=True)
    return [float(line) / 1000 for line in ran.stdout.split()]


def client_page(samples: int) -> list[float]:
    """CPU milliseconds of ``prometheus_client.generate_latest`` for as many samples in as many families."""
    families = 27

    class Fixed(Collector):
        @override
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for number in range(families):
                family = GaugeMetricFamily(f"family_{number}", "Help.", labels=("namespace", "pod", "container"))
                for one in range(samples // families):
                    family.add_metric(("team-1", f"service-{one}-6c8f7b9d5-x", "app"), one * 1.5)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed())
    return [_cpu_ms(lambda: generate_latest(registry)) for _ in range(5)]


def _cpu_ms(work: Callable[[], object], pause: float = 0.0) -> float:
    start = time.process_time()
    work()
    spent = (time.process_time() - start) * 1000
    time.sleep(pause)  # let caches cool as they do between real ticks
    return spent


@dataclass(frozen=True)
class WholeProcess:
    """What ``throttle-exporter serve`` costs, seen from outside."""

    start_seconds: float
    scrape_ms: list[float]
    bytes: int
    core_percent: float
    rss_mb: float
    peak_mb: float


def whole_process(node: BenchNode, seconds: float) -> WholeProcess:
    """Start it, let it run ``seconds`` with a scrape every 15 s, then scrape it once a tick for the latencies."""
    containers = sum(len(pod.containers) for pod in node.pods)
    started = time.monotonic()
    with _serving(node) as (pid, url):
        while _scrape(url).count(b"\ncgroup_container_info{") < containers:
            time.sleep(0.02)
        start_seconds = time.monotonic() - started
        time.sleep(5)
        before, begun = _cpu_seconds(pid), time.monotonic()
        while time.monotonic() - begun < seconds:
            time.sleep(15)
            _scrape(url)
        percent = 100 * (_cpu_seconds(pid) - before) / (time.monotonic() - begun)
        rss, peak = _memory(pid)
        latencies: list[float] = []
        body = b""
        for _ in range(30):
            time.sleep(1.013)  # a page is rendered once a tick: each of these is a new one
            start = time.monotonic()
            body = _scrape(url)
            latencies.append((time.monotonic() - start) * 1000)
    return WholeProcess(start_seconds, latencies, len(body), percent, rss, peak)


@contextmanager
def _serving(node: BenchNode) -> Iterator[tuple[int, str]]:
    url = "http://127.0.0.1:19843/metrics"
    command = [sys.executable, "-m", "exporter", "serve", f"--path.cgroup={node.root}", "--pods.sources=kubelet"]
    command += [f"--kubelet.url={node.kubelet_url}", "--web.listen-address=127.0.0.1:19843", "--log.level=error"]
    process = subprocess.Popen(command, env={"PATH": os.environ["PATH"]})
    try:
        yield process.pid, url
    finally:
        process.terminate()
        process.wait(10)


def _scrape(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except OSError:
        return b""  # not up yet


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _memory(pid: int) -> tuple[float, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024
