"""An hour of a node's life in real time: ``python -m tests.soak.hour --seconds 3600``.

The real process on this machine's real cgroups, with names from a kubelet's API over HTTP; containers that are
throttled, come, go and crash; now and then a fault; a scrape each 15 s as Prometheus takes it. Prints a line a minute
and a table at the end; exit code 1 when anything was wrong. Needs root and a hierarchy in which cgroups can be made.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count, cycle
from pathlib import Path
from statistics import median

from exporter.lab.cgroups import CgroupTree, Hierarchy, LabError, writable_hierarchy
from exporter.lab.workloads import Workforce
from tests.bench.process import cpu_seconds
from tests.soak.life import Faults, Life
from tests.soak.soak import thirds
from tests.support.lab import CONTAINER, errors, group_of, in_background, kernel_counters, labels, resident, watches
from tests.support.lab_kubelet import kubelet
from tests.support.pages import Page, duplicates, misplaced_families
from tests.support.process import OPENMETRICS, Exporter, started

RECOVERY_SECONDS = 60.0
"""After the last fault all names must be back: the longest pause between two questions is half of it."""
WANTED = tuple((accept, encoding) for encoding in ("identity", "gzip") for accept in ("text/plain", OPENMETRICS))
"""As Prometheus asks, in turns."""
ALLOWED = re.compile(
    r"pods/(refused|timeout|malformed|unreachable)|web/(slow_request|slow_reader|connection_dropped|bad_request)"
)
"""What the faults of a run may be counted as; anything else is a problem."""
OLDEST_SECONDS = 4.0
"""How old a counter on a page may be: a sample and a page of a second each, on a busy machine."""
RATIO = re.compile(r"cgroup_(container|pod)_cpu_throttled_ratio(_peak)?")
MOST_GROWTH = {
    "resident memory, MB": 3.0,
    # Which pods are alive differs from minute to minute: four of them, of one to three containers.
    "descriptors": 24,
    "inotify watches": 16,
    "threads": 2,
    "samples of a page": 300,
    "scrape, median ms": 50.0,
}
"""What each figure may grow by from the middle to the last third of a run."""
LEAST_MINUTES = 12
"""Fewer have no thirds that mean anything: caches and arenas still fill."""
Figures = Mapping[str, float]


@dataclass
class Hour:
    """Takes pages of an exporter and looks at them; what is wrong is a problem."""

    exporter: Exporter
    tree: CgroupTree
    life: Life
    tell: Callable[[str], object]
    minutes: list[Figures] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    """Scrapes, by format and encoding."""
    problems: dict[str, None] = field(default_factory=dict)
    """Each once, in their order."""
    page: Page = field(default_factory=lambda: Page("", "text/plain"))
    began: float = field(default_factory=time.monotonic)
    _wanted: Iterator[tuple[str, str]] = field(default_factory=lambda: cycle(WANTED))
    _last: dict[object, float] = field(default_factory=dict)
    _kernel: deque[tuple[float, dict[str, dict[str, float]]]] = field(default_factory=deque)
    _seconds: list[float] = field(default_factory=list)

    def scrape(self) -> None:
        """One page, as Prometheus takes it."""
        accept, encoding = next(self._wanted)
        began = time.monotonic()
        answer = self.asked("/metrics", {"Accept": accept, "Accept-Encoding": encoding})
        if answer is None:
            return
        self._seconds.append(time.monotonic() - began)
        headers, body = answer
        zipped = headers.get("content-encoding") == "gzip"
        page = Page((gzip.decompress(body) if zipped else body).decode(), headers["content-type"])
        if zipped != (encoding == "gzip") or page.is_openmetrics != (accept == OPENMETRICS):
            self.problem(f"asked for {accept}, {encoding}, got {headers}")
        self.kinds[f"{'OpenMetrics' if page.is_openmetrics else 'text'}{', gzip' if zipped else ''}"] += 1
        try:
            page.samples  # noqa: B018 - parsed once, and kept
        except ValueError as error:
            self.problem(f"a page that no parser takes: {error}")
            return
        self.page = page
        for problem in (*self._wrong(page), *self._disagrees(page)):
            self.problem(problem)

    def look_around(self) -> None:
        """What a person and a probe ask for: the status page, the JSON API, the probes."""
        namespace, pod, container = labels(self.life.steady[0]).values()
        for path, word in (
            ("/", pod),
            (f"/container/{namespace}/{pod}/{container}", pod),
            ("/healthz", "last sample"),
            ("/readyz", "ready"),
            ("/api/v1/containers", '"schema"'),
            (f"/api/v1/containers/{namespace}/{pod}/{container}", '"schema"'),
            ("/api/v1/node", '"schema"'),
        ):
            answer = self.asked(path)
            if answer is not None and word not in answer[1].decode():
                self.problem(f"{path} does not say {word}")

    def minute(self) -> None:
        """Note what became of the process since the last one."""
        pid, counted = self.exporter.process.pid, errors(self.page)
        figures = {
            "resident memory, MB": resident(pid) / 1e6,
            "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
            "inotify watches": watches(pid),
            "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
            "samples of a page": len(self.page.samples),
            "scrape, median ms": 1000 * median(self._seconds or [0.0]),
            "scrape, worst ms": 1000 * max(self._seconds, default=0.0),
            "CPU seconds": cpu_seconds(pid),
            "containers made": self.life.made,
            "lines logged": len(self.exporter.lines),
        }
        self.minutes.append(figures)
        self._seconds.clear()
        shown = ", ".join(f"{name} {value:.4g}" for name, value in {**figures, **counted}.items())
        self.tell(f"{time.monotonic() - self.began:6.0f} s: {shown}")
        for kind in counted:
            if not ALLOWED.fullmatch(kind):
                self.problem(f"counted {kind}, which nobody made")
        for line in self.exporter.lines:
            if "Traceback" in line or "level=error" in line:
                self.problem(f"logged {line.strip()[:300]}")

    def asked(self, path: str, headers: dict[str, str] | None = None) -> tuple[dict[str, str], bytes] | None:
        """Headers and body of an answer; ``None``, and a problem, without a good one."""
        try:
            answer = self.exporter.get(path, headers)
        except (OSError, HTTPException) as error:
            self.problem(f"{path} got no answer: {error!r}")
            return None
        if answer.status != 200:
            self.problem(f"{path} got {answer.status}: {answer.text[:200]}")
            return None
        return answer.headers, answer.body

    def problem(self, text: str) -> None:
        if len(self.problems) < 50:
            self.problems[text] = None

    def _wrong(self, page: Page) -> Iterator[str]:
        if twice := duplicates(page.text):
            yield f"samples twice: {list(twice)[:3]}"
        if not page.is_openmetrics and (misplaced := misplaced_families(page.text)):
            yield f"families in pieces: {misplaced[:3]}"
        names = {pod.name for pod in self.life.steady}
        for (name, row), value in page.samples.items():
            if RATIO.fullmatch(name) and not 0 <= value <= 1:
                yield f"{name}{dict(row)} is {value}"
            lasting = dict(row).get("pod") in names or name.startswith(("throttle_exporter_", "process_"))
            if name.endswith("_total") and lasting:
                if value < self._last.get((name, row), 0.0):
                    yield f"{name}{dict(row)} fell from {self._last[name, row]} to {value}"
                self._last[name, row] = value
        for pod in self.life.steady:
            if page.get(CONTAINER + "cpu_throttled_ratio", **labels(pod)) is None:
                yield f"{pod.name} has no ratio"

    def _disagrees(self, page: Page) -> Iterator[str]:
        """A counter is what the kernel said lately: not before the sample that the page is made of, and not later."""
        now = self.read_kernel()
        read_at, before = self._kernel[0]
        is_old = read_at < self._kernel[-1][0] - OLDEST_SECONDS
        for pod in self.life.steady:
            for name, most in now[pod.name].items():
                shown = page.get(CONTAINER + name, **labels(pod))
                least = before[pod.name][name] if is_old else 0.0
                if shown is None or not least - 1e-6 <= shown <= most + 1e-6:
                    yield f"{name} of {pod.name} is {shown}, the kernel said {least} to {most}"

    def read_kernel(self) -> dict[str, dict[str, float]]:
        """What it says now; of what it said before, the newest that is old enough is kept, and all after that."""
        now = time.monotonic()
        said = {pod.name: kernel_counters(self.tree, group_of(self.tree, pod)) for pod in self.life.steady}
        self._kernel.append((now, said))
        while len(self._kernel) > 1 and self._kernel[1][0] < now - OLDEST_SECONDS:
            self._kernel.popleft()
        return said


def live(
    hierarchy: Hierarchy, folder: Path, *, seconds: float, every: float, minute: float, tell: Callable[[str], object]
) -> tuple[Hour, Faults]:
    """So many seconds; ``every`` between two scrapes, ``minute`` between two looks at the process."""
    with ExitStack() as stack:
        tree = stack.enter_context(CgroupTree(hierarchy, "hour"))
        served = stack.enter_context(kubelet("hour-node"))
        workforce = stack.enter_context(Workforce())
        life = Life(tree, workforce, served)
        options = [f"--path.cgroup={tree.own_root(folder)}", "--pods.sources=kubelet", f"--kubelet.url={served.url}"]
        exporter = stack.enter_context(started([*options, "--kubelet.token-file=", "--kubelet.ca-file="]))
        failing = Faults(served, (exporter.host, exporter.port), seconds)
        exporter.page_when(_all_named)
        exporter.page_after_ticks()
        hour = Hour(exporter, tree, life, tell)
        hour.read_kernel()
        with in_background(life.run), in_background(failing.run):
            for number in count(1):
                hour.scrape()
                if time.monotonic() >= hour.began + minute * (len(hour.minutes) + 1):
                    hour.look_around()
                    hour.minute()
                time.sleep(max(0.0, hour.began + min(seconds, number * every) - time.monotonic()))
                if time.monotonic() >= hour.began + seconds or exporter.process.poll() is not None:
                    break
        if exporter.process.poll() is not None:
            raise AssertionError(f"it ended by itself with {exporter.process.returncode}\n{exporter.log[-5000:]}")
        try:
            exporter.page_when(_all_named, timeout=RECOVERY_SECONDS)
        except (AssertionError, OSError) as error:
            hour.problem(f"not all names came back: {str(error)[:500]}")
        hour.scrape()
        hour.look_around()
        hour.minute()
        for problem in (
            *(f"not counted: {one}" for one in failing.expected() - set(errors(hour.page))),
            *grown(hour.minutes),
        ):
            hour.problem(problem)
        if code := exporter.stop():
            hour.problem(f"ended with {code}: {exporter.log[-2000:]}")
    return hour, failing


def _all_named(page: Page) -> bool:
    return not any(page.total("throttle_exporter_cgroups", state=state) for state in ("unmapped", "pending"))


def grown(minutes: Sequence[Figures]) -> Iterator[str]:
    """What grew, where the run was long enough to say so."""
    for name, most in MOST_GROWTH.items() if len(minutes) >= LEAST_MINUTES else ():
        _, middle, last = thirds([one[name] for one in minutes])
        if last - middle > most:
            yield f"{name} grew from {middle:.2f} to {last:.2f}"


def table(hour: Hour, failing: Faults) -> Iterator[str]:
    """Markdown: medians of thirds, then single facts."""
    yield "| what | first third | second third | last third | growth |"
    yield "|---|---|---|---|---|"
    for name in MOST_GROWTH:
        first, middle, last = thirds([one[name] for one in hour.minutes])
        yield f"| {name} | {first:.2f} | {middle:.2f} | {last:.2f} | {last - middle:+.2f} |"
    yield ""
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(hour.kinds.items()))
    worst = max(one["scrape, worst ms"] for one in hour.minutes)
    yield f"{time.monotonic() - hour.began:.0f} s; scrapes: {kinds}, the slowest {worst:.0f} ms"
    yield f"faults: {', '.join(dict.fromkeys(failing.begun))}; counted: {errors(hour.page)}"
    yield f"wrong: {'; '.join(hour.problems) or 'nothing'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two scrapes")
    options = parser.parse_args()

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        hierarchy = writable_hierarchy()
    except LabError as error:
        sys.exit(f"hour: {error}")
    with tempfile.TemporaryDirectory() as folder:
        pace = {"seconds": options.seconds, "every": options.every, "minute": min(60.0, options.seconds / 6)}
        hour, failing = live(hierarchy, Path(folder), tell=tell, **pace)
    tell("\n" + "\n".join(table(hour, failing)))
    return bool(hour.problems)


if __name__ == "__main__":
    sys.exit(main())
