"""What each scrape and each minute must show."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections import Counter, deque
from collections.abc import Iterator
from http.client import HTTPException
from itertools import cycle
from pathlib import Path

from exporter.lab.spec import Pod
from exporter.lab.tree import KubepodsTree
from tests.soak.hour.minutes import Minute, cpu_seconds, threads
from tests.support.lab import CONTAINER, errors, kernel_counters, labels, resident, watches
from tests.support.pages import Page, duplicates, misplaced_families
from tests.support.process import OPENMETRICS, Answer, Exporter

WANTED = tuple(
    {"Accept": accept, "Accept-Encoding": encoding}
    for encoding in ("identity", "gzip")
    for accept in ("text/plain;version=0.0.4", OPENMETRICS)
)
"""As Prometheus asks, in turns."""
MOST_PROBLEMS = 50
ALLOWED = re.compile(
    r"pods/(refused|timeout|malformed|unreachable)|web/(slow_request|slow_reader|connection_dropped|bad_request)"
)
"""What the faults of a run may be counted as; anything else is a problem."""
OLDEST_SECONDS = 4.0
"""How old a counter on a page may be: a sample and a page of a second each, on a busy machine."""
RATIO = re.compile(r"cgroup_(container|pod)_cpu_throttled_ratio(_peak)?")


class Looker:
    """Takes pages and looks at them; what is wrong is a problem."""

    def __init__(self, exporter: Exporter, tree: KubepodsTree, steady: tuple[Pod, ...]) -> None:
        self._exporter, self._tree, self._steady = exporter, tree, steady
        self._wanted = cycle(WANTED)
        self._last: dict[object, float] = {}
        self._kernel: deque[tuple[float, dict[str, dict[str, float]]]] = deque()
        self._read_kernel()
        self._seconds: list[float] = []
        self._began = time.monotonic()
        self.problems: list[str] = []
        self.kinds: Counter[str] = Counter()
        """Scrapes, by format and encoding."""
        self.page = Page("", "text/plain")

    def scrape(self) -> None:
        """One page, as Prometheus takes it."""
        headers = next(self._wanted)
        began = time.monotonic()
        try:
            answer = self._exporter.get("/metrics", headers)
        except (OSError, HTTPException) as error:
            self._problem(f"a scrape got no answer: {error!r}")
            return
        self._seconds.append(time.monotonic() - began)
        if answer.status != 200:
            self._problem(f"a scrape got {answer.status}: {answer.text[:200]}")
            return
        zipped = answer.headers.get("content-encoding") == "gzip"
        if zipped != (headers["Accept-Encoding"] == "gzip"):
            self._problem(f"asked for {headers}, got {answer.headers}")
        text = (gzip.decompress(answer.body) if zipped else answer.body).decode()
        page = Page(text, answer.headers["content-type"])
        if page.is_openmetrics != (headers["Accept"] == OPENMETRICS):
            self._problem(f"asked for {headers}, got {answer.headers}")
        self.kinds[f"{'OpenMetrics' if page.is_openmetrics else 'text'}{', gzip' if zipped else ''}"] += 1
        try:
            page.samples  # noqa: B018 - parsed once, and kept
        except ValueError as error:
            self._problem(f"a page that no parser takes: {error}")
            return
        self.page = page
        for problem in (*self._wrong(page), *self._disagrees(page)):
            self._problem(problem)

    def look_around(self) -> None:
        """What a person and a probe ask for: the status page, the JSON API, the probes."""
        namespace, pod, container = labels(self._steady[0]).values()
        for path, word in (
            ("/", pod),
            (f"/container/{namespace}/{pod}/{container}", pod),
            ("/healthz", "last sample"),
            ("/readyz", "ready"),
        ):
            answer = self._asked(path)
            if answer is not None and word not in answer.text:
                self._problem(f"{path} does not say {word}")
        for path in ("containers", f"containers/{namespace}/{pod}/{container}", "node"):
            answer = self._asked(f"/api/v1/{path}")
            if answer is not None and "schema" not in json.loads(answer.text):
                self._problem(f"/api/v1/{path} has no schema")

    def minute(self, made: int) -> Minute:
        """What became of the process since the last one."""
        pid = self._exporter.process.pid
        taken = Minute(
            at=time.monotonic() - self._began,
            resident=resident(pid),
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            watches=watches(pid),
            threads=threads(pid),
            cpu_seconds=cpu_seconds(pid),
            scrapes=tuple(self._seconds),
            samples=len(self.page.samples),
            made=made,
            log_lines=len(self._exporter.lines),
            counted=errors(self.page),
        )
        self._seconds.clear()
        for kind in taken.counted:
            if not ALLOWED.fullmatch(kind):
                self._problem(f"counted {kind}, which nobody made")
        for line in self._exporter.lines:
            if "Traceback" in line or "level=error" in line:
                self._problem(f"logged {line.strip()[:300]}")
        return taken

    def _asked(self, path: str) -> Answer | None:
        try:
            answer = self._exporter.get(path)
        except (OSError, HTTPException) as error:
            self._problem(f"{path} got no answer: {error!r}")
            return None
        if answer.status != 200:
            self._problem(f"{path} got {answer.status}: {answer.text[:200]}")
            return None
        return answer

    def _wrong(self, page: Page) -> Iterator[str]:
        if twice := duplicates(page.text):
            yield f"samples twice: {list(twice)[:3]}"
        if not page.is_openmetrics and (misplaced := misplaced_families(page.text)):
            yield f"families in pieces: {misplaced[:3]}"
        names = {pod.name for pod in self._steady}
        for (name, row), value in page.samples.items():
            if RATIO.fullmatch(name) and not 0 <= value <= 1:
                yield f"{name}{dict(row)} is {value}"
            lasting = dict(row).get("pod") in names or name.startswith(("throttle_exporter_", "process_"))
            if name.endswith("_total") and lasting:
                if value < self._last.get((name, row), 0.0):
                    yield f"{name}{dict(row)} fell from {self._last[name, row]} to {value}"
                self._last[name, row] = value
        for pod in self._steady:
            if page.get(CONTAINER + "cpu_throttled_ratio", **labels(pod)) is None:
                yield f"{pod.name} has no ratio"

    def _disagrees(self, page: Page) -> Iterator[str]:
        """A counter is what the kernel said lately: not before the sample that the page is made of, and not later."""
        now = self._read_kernel()
        read_at, before = self._kernel[0]
        is_old = read_at < self._kernel[-1][0] - OLDEST_SECONDS
        for pod in self._steady:
            for name, most in now[pod.name].items():
                shown = page.get(CONTAINER + name, **labels(pod))
                least = before[pod.name][name] if is_old else 0.0
                if shown is None or not least - 1e-6 <= shown <= most + 1e-6:
                    yield f"{name} of {pod.name} is {shown}, the kernel said {least} to {most}"

    def _read_kernel(self) -> dict[str, dict[str, float]]:
        """What it says now; of what it said before, the newest that is old enough is kept, and all after that."""
        now = time.monotonic()
        said = {
            pod.name: kernel_counters(self._tree, self._tree.container_group(pod, pod.containers[0]))
            for pod in self._steady
        }
        self._kernel.append((now, said))
        while len(self._kernel) > 1 and self._kernel[1][0] < now - OLDEST_SECONDS:
            self._kernel.popleft()
        return said

    def _problem(self, text: str) -> None:
        if len(self.problems) < MOST_PROBLEMS and text not in self.problems:
            self.problems.append(text)
